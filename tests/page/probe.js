"use strict";
// Measures the page as it is laid out and leaves the answer in the document as JSON, where `--dump-dom` prints it.
addEventListener("load", () => {
  const round = (r) => ({ x: r.x, y: r.y + scrollY, w: r.width, h: r.height });
  const apart = (a, b) => a.right <= b.left + 0.5 || b.right <= a.left + 0.5 || a.bottom <= b.top + 0.5 || b.bottom <= a.top + 0.5;
  const say = (e) => `${e.tagName} ${e.id || ""} ${(e.textContent || "").trim().slice(0, 40)}`;
  const problems = [];
  const width = document.documentElement.clientWidth;

  for (const e of document.querySelectorAll("body *:not(script)")) {
    const r = e.getBoundingClientRect();
    if (e.closest(".scroll") !== null && !e.matches(".scroll")) continue;
    if (e.closest(".skip, #probe") === null && r.width > 0 && (r.right > width + 1 || r.left < -1)) problems.push(`beside the page: ${say(e)}`);
  }
  for (const e of document.querySelectorAll(".scroll")) {
    if (e.scrollWidth > e.clientWidth + 1 && e.tabIndex !== 0) problems.push(`scrolls, but not by keyboard: ${say(e)}`);
  }
  for (const svg of document.querySelectorAll("svg")) {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")];
    const boxes = texts.map((t) => t.getBoundingClientRect());
    const shapes = [...svg.querySelectorAll("rect.bar")].map((b) => b.getBoundingClientRect());
    texts.forEach((t, i) => {
      const b = boxes[i];
      if (b.left < frame.left - 1 || b.right > frame.right + 1 || b.top < frame.top - 1 || b.bottom > frame.bottom + 1) problems.push(`outside ${svg.id}: ${say(t)}`);
      if (t.hasAttribute("transform")) return;
      for (let k = i + 1; k < texts.length; k++) if (!texts[k].hasAttribute("transform") && !apart(b, boxes[k])) problems.push(`on one another in ${svg.id}: ${say(t)}, ${say(texts[k])}`);
      if (shapes.some((s) => !apart(b, s))) problems.push(`on a bar of ${svg.id}: ${say(t)}`);
      const node = t.closest("a")?.querySelector("rect")?.getBoundingClientRect();
      if (node && b.right > node.right) problems.push(`leaves its box: ${say(t)}`);
    });
  }

  const channel = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const luminance = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).map((c) => channel(Number(c) / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (let p = e; p; p = p.parentElement) if (!/rgba\(.*, 0\)|transparent/.test(getComputedStyle(p).backgroundColor)) return getComputedStyle(p).backgroundColor;
    return "rgb(255, 255, 255)";
  };
  const contrast = {};
  for (const selector of ["h1", "p", "dd", "a[href]", "figcaption", "td", "footer p", "svg text", "svg text.faint"]) {
    const e = document.querySelector(selector);
    const style = getComputedStyle(e);
    const [a, b] = [luminance(e.closest("svg") ? style.fill : style.color), luminance(behind(e))];
    contrast[selector] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }

  const nodes = [...document.querySelectorAll("a.node")];
  const reached = nodes.filter((n) => { n.focus(); return document.activeElement === n; }).length;
  nodes[0].dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
  const followed = document.activeElement.id;
  const painted = (selector) => [...document.querySelectorAll(selector)].map((e) => ({ ...round(e.getBoundingClientRect()), fill: getComputedStyle(e).fill }));
  scrollTo(0, 0);

  const found = {
    width,
    height: document.documentElement.scrollHeight,
    wide: document.documentElement.scrollWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    errors: window.probeErrors,
    problems,
    sections: [...document.querySelectorAll("section")].map((s) => ({ id: s.id, ...round(s.getBoundingClientRect()) })),
    charts: [...document.querySelectorAll("svg")].map((s) => ({ id: s.id, ...round(s.getBoundingClientRect()) })),
    contrast,
    nodes: nodes.length,
    reached,
    followed,
    marks: painted("#level-chart .mark"),
    merges: painted("#level-chart .merge"),
    bars: painted("#time-chart .bar"),
  };
  const out = document.createElement("pre");
  out.id = "probe";
  out.hidden = true;
  out.textContent = JSON.stringify(found);
  document.body.append(out);
});
