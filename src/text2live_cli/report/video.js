(() => {
  const stage = document.querySelector(".stage");
  const original = stage.querySelector("video");
  const first = Number(stage.dataset.first);

  function fit() {
    stage.style.setProperty("--aspect", original.videoWidth / original.videoHeight);
  }

  wipe(stage);
  if (original.readyState >= original.HAVE_METADATA) fit();
  original.addEventListener("loadedmetadata", fit);
  playFilms((index) => `frame ${first + index}`);
})();
