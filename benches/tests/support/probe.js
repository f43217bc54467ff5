// Runs inside the page: says what is there, what overlaps, and what went wrong.
const errors = [];
window.addEventListener("error", event => errors.push(event.message));
window.addEventListener("load", () => {
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.data.trim() || node.parentElement.closest("title, script, style")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.width > 0) texts.push({ text: node.data.trim(), node, box });
    }
  }
  const overlaps = [];
  texts.forEach((one, index) => {
    for (const other of texts.slice(index + 1)) {
      const width = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
      const height = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
      // Boxes of a line are a little taller than its letters.
      if (one.node !== other.node && width > 1 && height > 4) overlaps.push(`${one.text} / ${other.text}`);
    }
  });
  const outside = texts.filter(({ node, box }) =>
    !node.parentElement.closest(".wide") && (box.left < 0 || box.right > innerWidth + 1));
  outside.forEach(({ text }) => overlaps.push(`${text} / the edge`));
  const marks = [...document.querySelectorAll(".mark[data-tool]")].map(mark =>
    `${mark.closest("[data-pair]").dataset.pair} / ${mark.dataset.tool}`);
  const overflow = document.documentElement.scrollWidth - innerWidth;
  parent.postMessage(JSON.stringify({ width: innerWidth, errors, overlaps, overflow, marks, texts: texts.length }), "*");
});
