
"use strict";
// All films are one: the first leads, the others follow it, and the slider moves them together.
(() => {
  const films = [...document.querySelectorAll("video")];
  const leader = films[0];
  const marks = [...document.querySelectorAll(".plot [data-index]")];
  const transport = document.querySelector(".transport");
  const button = transport.querySelector(".play");
  const scrubber = transport.querySelector(".scrubber");
  const readout = transport.querySelector(".readout");
  const cursor = document.querySelector(".plot .now");
  const page = document.documentElement;
  let playing = false;
  let tick = 0;

  const frameTime = (film) => film.duration / marks.length;
  const frameAt = (film) =>
    Math.min(marks.length - 1, Math.floor(film.currentTime / frameTime(film)));

  function show(index) {
    const mark = marks[index];
    const words = mark.querySelector("title").textContent;
    const x = mark.querySelector("circle").getAttribute("cx");
    scrubber.value = index;
    scrubber.setAttribute("aria-valuetext", words);
    readout.textContent = words;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
  }

  function seek(index) {
    for (const film of films) {
      film.playbackRate = 1;
      film.currentTime = (index + 0.5) * frameTime(film); // its middle: safe from rounding
    }
    show(index);
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
    show(frameAt(leader));
    tick = requestAnimationFrame(keepInStep);
  }

  function begin() {
    films.forEach((film) => { film.controls = false; });
    transport.hidden = false;
    scrubber.disabled = button.disabled = marks.length < 2;
    page.dataset.films = "ready";
    seek(0);
    if (marks.length > 1 && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
  }

  button.addEventListener("click", () => (playing ? pause() : play()));
  scrubber.addEventListener("input", () => {
    const index = Number(scrubber.value);
    if (playing) pause();
    seek(index);
  });
  films.forEach((film) => film.addEventListener("click", () => button.click()));
  marks.forEach((mark, index) => mark.addEventListener("click", () => {
    scrubber.value = index;
    pause();
  }));

  const loaded = (film) => new Promise((resolve, reject) => {
    if (film.error) reject();
    if (film.readyState >= film.HAVE_CURRENT_DATA) resolve();
    film.addEventListener("loadeddata", resolve, { once: true });
    film.addEventListener("error", reject, { once: true });
  });
  Promise.all(films.map(loaded)).then(begin, () => {
    page.dataset.films = "failed";
    document.querySelector(".failed").hidden = false;
  });
})();
