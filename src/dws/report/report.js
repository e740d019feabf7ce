// Interactive embeddings. Each <figure class="embeddings"> holds a picture for pages without
// JavaScript and, as JSON, what is drawn in its place:
//   networks    which networks of the test split are drawn
//   labels      for each label its name, whether it is a class, and the value of each network
//   panels      for each method its title, points [x, y] from 0 to 1000 and predictions of each label
//   colours     of classes; shades, from the lowest to the highest number
//   thumbnails  a sheet with a picture of what each network computes, or null
"use strict";

for (const figure of document.querySelectorAll("figure.embeddings")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const MARGIN = 10, RADIUS = data.networks.length > 500 ? 2.5 : 4, REACH = 14;
  let label = 0, chosen = null, chosenPanel = null;

  const make = (name, parent, properties = {}) => {
    const element = Object.assign(document.createElement(name), properties);
    parent.append(element);
    return element;
  };

  // the pictures fold away, and everything else stands in front of them
  const still = figure.querySelector(".still");
  const folded = document.createElement("details");
  make("summary", folded, { textContent: "Static picture" });
  still.replaceWith(folded);
  folded.append(still);
  const top = document.createElement("div");
  figure.prepend(top);
  const controls = make("div", top, { className: "controls" });
  const grid = make("div", top, { className: "panels" });

  const sheet = new Image();
  if (data.thumbnails) sheet.src = data.thumbnails.source;

  const colourOf = (index) => {
    const { isClass, values } = data.labels[label];
    const value = values[index];
    if (value === null) return "#808080";
    if (isClass) return data.colours[((value % data.colours.length) + data.colours.length) % data.colours.length];
    const [low, high] = rangeOf(label);
    const last = data.shades.length - 1;
    return data.shades[Math.round((last * (value - low)) / (high - low || 1))];
  };
  const rangeOf = (number) => {
    const finite = data.labels[number].values.filter((value) => value !== null);
    return [finite.reduce((a, b) => Math.min(a, b), Infinity), finite.reduce((a, b) => Math.max(a, b), -Infinity)];
  };

  const panels = data.panels.map((panel) => {
    const box = make("div", grid, { className: "panel" });
    make("h3", box, { textContent: panel.title });
    const canvas = make("canvas", box, { tabIndex: 0 });
    canvas.setAttribute("role", "img");
    canvas.setAttribute(
      "aria-label",
      `${panel.title}: t-SNE of ${data.networks.length} test networks. Arrow keys go from network to network.`
    );
    return { ...panel, canvas };
  });
  const tip = make("div", grid, { className: "tip", hidden: true });
  tip.setAttribute("role", "status");

  const placeOf = (panel, index) => {
    const side = panel.canvas.clientWidth - 2 * MARGIN;
    const [x, y] = panel.points[index];
    return [MARGIN + (side * x) / 1000, MARGIN + (side * y) / 1000];
  };

  const draw = (panel) => {
    const { canvas } = panel;
    const size = canvas.clientWidth, density = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(size * density);
    const brush = canvas.getContext("2d");
    brush.scale(density, density);
    for (let index = 0; index < panel.points.length; index++) {
      const [x, y] = placeOf(panel, index);
      brush.fillStyle = colourOf(index);
      brush.beginPath();
      brush.arc(x, y, RADIUS, 0, 2 * Math.PI);
      brush.fill();
    }
    if (chosen === null) return;
    const [x, y] = placeOf(panel, chosen);
    brush.lineWidth = 2.5;
    brush.strokeStyle = getComputedStyle(canvas).color;
    brush.beginPath();
    brush.arc(x, y, RADIUS + 4, 0, 2 * Math.PI);
    brush.stroke();
  };
  const drawAll = () => panels.forEach(draw);

  const choose = (panel, index) => {
    if (index === chosen && panel === chosenPanel) return;
    chosen = index;
    chosenPanel = panel;
    tip.hidden = index === null;
    if (index !== null) describe(panel, index);
    drawAll();
  };

  const describe = (panel, index) => {
    tip.replaceChildren();
    if (data.thumbnails && sheet.complete) {
      const { width, height, columns } = data.thumbnails;
      const scale = Math.max(1, Math.round(96 / width));
      const picture = make("canvas", tip, { width, height });
      picture.style.width = `${scale * width}px`;
      picture.style.height = `${scale * height}px`;
      const column = index % columns, row = Math.floor(index / columns);
      picture.getContext("2d").drawImage(sheet, column * width, row * height, width, height, 0, 0, width, height);
    }
    make("div", tip, { textContent: `Test network ${data.networks[index]}` });
    data.labels.forEach(({ name, values }, number) => {
      const predicted = panel.predictions ? `, predicted ${panel.predictions[number][index] ?? "not finite"}` : "";
      make("div", tip, { textContent: `${name}: true ${values[index]}${predicted}` });
    });
    const [x, y] = placeOf(panel, index);
    const left = panel.canvas.offsetLeft + x, above = panel.canvas.offsetTop + y;
    const fits = left + 12 + tip.offsetWidth <= grid.clientWidth;
    tip.style.left = `${Math.max(0, fits ? left + 12 : left - 12 - tip.offsetWidth)}px`;
    tip.style.top = `${above + 12}px`;
  };

  const nearest = (panel, event) => {
    const box = panel.canvas.getBoundingClientRect();
    const reach = event.pointerType === "touch" ? 2 * REACH : REACH;
    let found = null, best = reach * reach;
    panel.points.forEach((_, index) => {
      const [x, y] = placeOf(panel, index);
      const distance = (event.clientX - box.left - x) ** 2 + (event.clientY - box.top - y) ** 2;
      if (distance <= best) [found, best] = [index, distance];
    });
    return found;
  };

  const keys = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  for (const panel of panels) {
    panel.canvas.addEventListener("pointermove", (event) => choose(panel, nearest(panel, event)));
    panel.canvas.addEventListener("pointerdown", (event) => choose(panel, nearest(panel, event)));
    panel.canvas.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") choose(null, null);
    });
    panel.canvas.addEventListener("blur", () => choose(null, null));
    panel.canvas.addEventListener("keydown", (event) => {
      if (event.key === "Escape") choose(null, null);
      if (!(event.key in keys)) return;
      event.preventDefault();
      const count = panel.points.length;
      choose(panel, chosen === null ? 0 : (chosen + keys[event.key] + count) % count);
    });
  }

  const showKey = () => {
    controls.querySelectorAll(".key").forEach((key) => key.remove());
    const { isClass, values, name } = data.labels[label];
    if (!isClass) {
      const [low, high] = rangeOf(label);
      const key = make("span", controls, { className: "key" });
      key.append(`${name}: ${low}`);
      const bar = make("i", key, { className: "bar" });
      bar.style.background = `linear-gradient(to right, ${data.shades.join(", ")})`;
      key.append(`${high}`);
      return;
    }
    make("span", controls, { className: "key", textContent: `${name}:` });
    for (const value of [...new Set(values)].sort((a, b) => a - b)) {
      const key = make("span", controls, { className: "key" });
      make("i", key).style.background = colourOf(values.indexOf(value));
      key.append(`${value}`);
    }
  };

  if (data.labels.length > 1) {
    const select = make("select", make("label", controls, { textContent: "Colour by " }));
    data.labels.forEach(({ name }, number) => make("option", select, { textContent: name, value: number }));
    select.addEventListener("change", () => {
      label = Number(select.value);
      showKey();
      drawAll();
    });
  }
  showKey();
  new ResizeObserver(drawAll).observe(grid);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
}

for (const button of document.querySelectorAll(".command button")) {
  const code = button.parentElement.querySelector("code");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // no permission: ready for the keyboard
      button.textContent = "Selected";
    }
  });
}
