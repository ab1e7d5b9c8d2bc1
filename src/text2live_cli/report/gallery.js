"use strict";
(() => {
  const list = document.querySelector(".cards");
  const cards = [...list.children];
  const [find, input, state, sort, count] =
    ["find", "input", "state", "sort", "count"].map((name) => document.querySelector(`.filters .${name}`));
  const number = (card, name) => (card.dataset[name] === "" ? -Infinity : Number(card.dataset[name]));
  const words = new Intl.Collator(undefined, { numeric: true });

  function order(a, b) {
    const by = sort.value;
    if (by === "name") return words.compare(a.dataset.name, b.dataset.name);
    return number(b, by) - number(a, by) || words.compare(a.dataset.name, b.dataset.name);
  }

  function show() {
    const text = find.value.trim().toLowerCase();
    let shown = 0;
    for (const card of cards) {
      const { prompt, input: source, state: now } = card.dataset;
      const fits = prompt.includes(text)
        && (input.value === "" || source === input.value)
        && (state.value === "" || now === state.value);
      card.hidden = !fits;
      shown += fits;
    }
    list.append(...cards.sort(order));
    count.value = `${shown} of ${cards.length}`;
  }

  for (const one of [find, input, state, sort]) one.addEventListener("input", show);
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  show();
  document.documentElement.dataset.shown = "ready";
})();
