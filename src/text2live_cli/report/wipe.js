"use strict";
// Two films or pictures lie upon each other; a slider over them says where one ends.
function wipe(stage) {
  const slider = stage.querySelector(".wipe");

  function place() {
    stage.style.setProperty("--wipe", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${Math.round(slider.value)} % original`);
  }

  slider.addEventListener("input", place);
  place();
}
