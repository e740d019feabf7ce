// Interactive embeddings. Each <figure class="embeddings"> contains a picture for pages without
// JavaScript, and the data of the interactive figure as JSON:
//   networks    row of each network within the test split
//   labels      for each label: name, whether it is a class, and the value of each network
//   panels      for each method: title, points [x, y] from 0 to 1000 and predictions of each label
//   colours     colour of each class
//   shades      colours from the lowest to the highest number
//   thumbnails  sheet with a thumbnail of each network, or null
"use strict";

for (const figure of document.querySelectorAll("figure.embeddings")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const MARGIN = 10, RADIUS = data.networks.length > 500 ? 2.5 : 4, REACH = 14;
  let label = 0, chosen = null, chosenPanel = null, colours = [];

  const make = (name, parent, properties = {}) => {
    const element = Object.assign(document.createElement(name), properties);
    parent.append(element);
    return element;
  };

  // move the static pictures to a closed <details> element below the interactive panels
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

  const range = () => {
    const finite = data.labels[label].values.filter((value) => value !== null);
    return [finite.reduce((a, b) => Math.min(a, b), Infinity), finite.reduce((a, b) => Math.max(a, b), -Infinity)];
  };
  const chooseColours = () => {
    const { isClass, values } = data.labels[label];
    const [low, high] = range(), last = data.shades.length - 1;
    colours = values.map((value) => {
      if (value === null) return "#808080";
      return isClass ? data.colours[value] : data.shades[Math.round((last * (value - low)) / (high - low || 1))];
    });
  };

  const panels = data.panels.map((panel) => {
    const box = make("div", grid, { className: "panel" });
    make("h3", box, { textContent: panel.title });
    const canvas = make("canvas", box, { tabIndex: 0, role: "application" });
    canvas.ariaRoleDescription = "scatter plot";
    canvas.ariaLabel = `${panel.title}. ${figure.ariaLabel}. Arrow keys select the next network in their direction.`;
    return { ...panel, canvas, background: document.createElement("canvas") };
  });
  const tip = make("div", grid, { className: "tip", hidden: true });
  const spoken = make("div", grid, { className: "spoken", ariaLive: "polite" });

  const placeOf = (panel, index) => {
    const side = panel.canvas.clientWidth - 2 * MARGIN;
    const [x, y] = panel.points[index];
    return [MARGIN + (side * x) / 1000, MARGIN + (side * y) / 1000];
  };

  // Points depend only on size and label; they are drawn to a background canvas, which is reused
  // when the ring moves.
  const drawPoints = (panel) => {
    const { canvas, background } = panel;
    const density = window.devicePixelRatio || 1;
    background.width = background.height = Math.round(canvas.clientWidth * density);
    const brush = background.getContext("2d");
    brush.scale(density, density);
    brush.strokeStyle = getComputedStyle(canvas).color;
    brush.lineWidth = 0.4;
    panel.points.forEach((_, index) => {
      brush.fillStyle = colours[index];
      brush.beginPath();
      brush.arc(...placeOf(panel, index), RADIUS, 0, 2 * Math.PI);
      brush.fill();
      brush.stroke();
    });
    const { isClass, values } = data.labels[label];
    if (!isClass) return;
    brush.font = "600 12px system-ui, sans-serif";
    brush.textAlign = "center";
    brush.textBaseline = "middle";
    for (const value of new Set(values)) {
      const members = panel.points.filter((_, index) => values[index] === value);
      const [x, y] = [0, 1].map((axis) => {
        const sorted = members.map((point) => point[axis]).sort((a, b) => a - b);
        return MARGIN + ((canvas.clientWidth - 2 * MARGIN) * sorted[sorted.length >> 1]) / 1000;
      });
      brush.fillStyle = "#ffffffd0";
      brush.beginPath();
      brush.arc(x, y, 9, 0, 2 * Math.PI);
      brush.fill();
      brush.fillStyle = "#000000";
      brush.fillText(value, x, y);
    }
  };
  const drawRing = (panel) => {
    const { canvas, background } = panel;
    canvas.width = canvas.height = background.width;
    const brush = canvas.getContext("2d");
    brush.drawImage(background, 0, 0);
    if (chosen === null) return;
    const density = window.devicePixelRatio || 1;
    brush.scale(density, density);
    brush.lineWidth = 2.5;
    brush.strokeStyle = getComputedStyle(canvas).color;
    brush.beginPath();
    brush.arc(...placeOf(panel, chosen), RADIUS + 4, 0, 2 * Math.PI);
    brush.stroke();
  };
  const drawAll = () => panels.forEach((panel) => (drawPoints(panel), drawRing(panel)));

  const choose = (panel, index) => {
    if (index === chosen && panel === chosenPanel) return;
    chosen = index;
    chosenPanel = panel;
    tip.hidden = index === null;
    if (index === null) spoken.textContent = "";
    else describe(panel, index);
    panels.forEach(drawRing);
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
    const lines = data.labels.map(({ name, values }, number) => {
      const predicted = panel.predictions ? `, predicted ${panel.predictions[number][index] ?? "not finite"}` : "";
      return `${name}: true ${values[index]}${predicted}`;
    });
    lines.unshift(`Test network ${data.networks[index]}`);
    lines.forEach((textContent) => make("div", tip, { textContent }));
    spoken.textContent = lines.join("; ");
    const [x, y] = placeOf(panel, index);
    const left = panel.canvas.offsetLeft + x, above = panel.canvas.offsetTop + y;
    const fits = left + 12 + tip.offsetWidth <= grid.clientWidth;
    const room = window.innerHeight - grid.getBoundingClientRect().top - above;
    tip.style.left = `${Math.max(0, fits ? left + 12 : left - 12 - tip.offsetWidth)}px`;
    tip.style.top = `${room > tip.offsetHeight + 12 ? above + 12 : above - 12 - tip.offsetHeight}px`;
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

  // the nearest point within 45 degrees of the direction
  const keys = { ArrowRight: [1, 0], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowUp: [0, -1] };
  const next = (panel, [right, down]) => {
    if (chosen === null) return 0;
    const [x, y] = panel.points[chosen];
    let found = chosen, best = Infinity;
    panel.points.forEach((point, index) => {
      const along = right * (point[0] - x) + down * (point[1] - y);
      const across = Math.abs(down * (point[0] - x) + right * (point[1] - y));
      if (along > 0 && across <= along && along + across < best) [found, best] = [index, along + across];
    });
    return found;
  };
  for (const panel of panels) {
    panel.canvas.addEventListener("pointermove", (event) => choose(panel, nearest(panel, event)));
    panel.canvas.addEventListener("pointerdown", (event) => choose(panel, nearest(panel, event)));
    panel.canvas.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") choose(null, null);
    });
    panel.canvas.addEventListener("blur", () => choose(null, null));
    panel.canvas.addEventListener("keydown", (event) => {
      if (!(event.key in keys)) return;
      event.preventDefault();
      choose(panel, next(panel, keys[event.key]));
    });
  }
  document.addEventListener("keydown", (event) => event.key === "Escape" && choose(null, null));

  const showKey = () => {
    controls.querySelectorAll(".key").forEach((key) => key.remove());
    const { isClass, values, name } = data.labels[label];
    if (!isClass) {
      const [low, high] = range();
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
      make("i", key).style.background = data.colours[value];
      key.append(`${value}`);
    }
  };

  if (data.labels.length > 1) {
    const select = make("select", make("label", controls, { textContent: "Colour by " }));
    data.labels.forEach(({ name }, number) => make("option", select, { textContent: name, value: number }));
    select.addEventListener("change", () => {
      label = Number(select.value);
      chooseColours();
      showKey();
      drawAll();
    });
  }
  chooseColours();
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
      getSelection().selectAllChildren(code); // without permission: select the text for Ctrl-C
      button.textContent = "Selected";
    }
  });
}
