(() => {
  const stage = document.querySelector(".stage");
  const original = stage.querySelector("img");
  stage.style.setProperty("--aspect", original.width / original.height);
  wipe(stage);
  document.documentElement.dataset.shown = "ready";
})();
