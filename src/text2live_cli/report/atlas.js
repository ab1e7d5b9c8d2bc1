// The curve is a slider too, with the values of its dots.
(() => {
  const marks = [...document.querySelectorAll(".plot [data-index]")];
  const cursor = document.querySelector(".plot .now");

  const stopAt = playFilms((index) => {
    const x = marks[index].querySelector("circle").getAttribute("cx");
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    return marks[index].querySelector("title").textContent;
  });
  marks.forEach((mark, index) => mark.addEventListener("click", () => stopAt(index)));
})();
