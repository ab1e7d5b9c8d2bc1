"use strict";
// All films are one: the first leads, the others follow it, and the slider moves them together.
// `show(index)` is called for the frame that is to be seen and says it in words. Returns a function
// that stops at a frame.
function playFilms(show) {
  const films = [...document.querySelectorAll("video")];
  const leader = films[0];
  const transport = document.querySelector(".transport");
  const button = transport.querySelector(".play");
  const scrubber = transport.querySelector(".scrubber");
  const readout = transport.querySelector(".readout");
  const count = Number(scrubber.max) + 1;
  const page = document.documentElement;
  let playing = false;
  let tick = 0;

  const frameTime = (film) => film.duration / count;
  const frameAt = (film) => Math.min(count - 1, Math.floor(film.currentTime / frameTime(film)));

  function tell(index) {
    const words = show(index);
    scrubber.value = index;
    scrubber.setAttribute("aria-valuetext", words);
    readout.textContent = words;
  }

  function seek(index) {
    for (const film of films) {
      film.playbackRate = 1;
      film.currentTime = (index + 0.5) * frameTime(film); // its middle: safe from rounding
    }
    tell(index);
  }

  function pause() {
    playing = false;
    cancelAnimationFrame(tick);
    button.textContent = "Play";
    films.forEach((film) => film.pause());
    seek(Number(scrubber.value));
  }

  function play() {
    playing = true;
    button.textContent = "Pause";
    start();
    tick = requestAnimationFrame(keepInStep);
  }

  function start() {
    Promise.all(films.map((film) => film.play())).catch(() => {
      if (playing) pause(); // the browser does not let films start by themselves
    });
  }

  // Decoders start at different moments: small lags are made up by speed, large ones by a jump.
  function keepInStep() {
    if (leader.ended) {
      seek(0);
      start();
    }
    for (const film of films.slice(1)) {
      const lag = leader.currentTime - film.currentTime;
      if (Math.abs(lag) > 0.5) film.currentTime = leader.currentTime;
      film.playbackRate = Math.min(1.5, Math.max(0.5, 1 + 2 * lag));
    }
    tell(frameAt(leader));
    tick = requestAnimationFrame(keepInStep);
  }

  function begin() {
    films.forEach((film) => { film.controls = false; });
    transport.hidden = false;
    scrubber.disabled = button.disabled = count < 2;
    page.dataset.shown = "ready";
    seek(0);
    if (count > 1 && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
  }

  button.addEventListener("click", () => (playing ? pause() : play()));
  scrubber.addEventListener("input", pause);
  films.forEach((film) => film.addEventListener("click", () => button.click()));

  const loaded = (film) => new Promise((resolve, reject) => {
    if (film.error) reject();
    if (film.readyState >= film.HAVE_CURRENT_DATA) resolve();
    film.addEventListener("loadeddata", resolve, { once: true });
    film.addEventListener("error", reject, { once: true });
  });
  Promise.all(films.map(loaded)).then(begin, () => {
    page.dataset.shown = "failed";
    document.querySelector(".failed").hidden = false;
  });

  return (index) => {
    if (transport.hidden) return; // not before there are films
    scrubber.value = index;
    pause();
  };
}
