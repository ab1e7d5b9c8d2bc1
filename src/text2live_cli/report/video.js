// Original and composite lie upon each other; a slider over them says where one ends.
(() => {
  const stage = document.querySelector(".stage");
  const original = stage.querySelector("video");
  const wipe = stage.querySelector(".wipe");
  const first = Number(stage.dataset.first);

  function place() {
    stage.style.setProperty("--wipe", `${wipe.value}%`);
    wipe.setAttribute("aria-valuetext", `${Math.round(wipe.value)} % original`);
  }

  function fit() {
    stage.style.setProperty("--aspect", original.videoWidth / original.videoHeight);
  }

  wipe.addEventListener("input", place);
  place();
  if (original.readyState >= original.HAVE_METADATA) fit();
  original.addEventListener("loadedmetadata", fit);
  playFilms((index) => `frame ${first + index}`);
})();
