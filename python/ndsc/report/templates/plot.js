// What a reader can do with the figures of this page: point at a curve, zoom, hide curves, save pictures and numbers.
// The pictures are SVG in the page, and whole without this script.
"use strict";
(() => {
const SVG = "http://www.w3.org/2000/svg";
const NEAR = 28;  // how far a point may be from the pointer, pixels of the screen

function element(name, attributes = {}, text = "") {
  const found = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  found.textContent = text;
  return found;
}

function shape(name, attributes = {}) {
  const found = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  return found;
}

const format = (value, sign = "") => (sign && value > 0 ? "+" : "") + value.toFixed(4).replace("-", "−");

// One direction of a panel: numbers of the data to points of the picture and back, for what is shown and for the whole.
class Axis {
  constructor(spec, from, to) {
    Object.assign(this, spec, { from, to });
    this.whole = spec.limits.map((value) => this.linear(value));
    this.shown = [...this.whole];
  }
  linear(value) { return this.log ? Math.log10(value) : value; }
  place(value, range = this.shown) {
    return this.from + (this.linear(value) - range[0]) / (range[1] - range[0]) * (this.to - this.from);
  }
  value(place) { return this.shown[0] + (place - this.from) / (this.to - this.from) * (this.shown[1] - this.shown[0]); }
  inside(place) { return place >= Math.min(this.from, this.to) - 0.5 && place <= Math.max(this.from, this.to) + 0.5; }
  get zoomed() { return this.shown.some((edge, index) => edge !== this.whole[index]); }
  // A place of the picture as it was drawn becomes scale * place + shift.
  get transform() {
    const scale = (this.whole[1] - this.whole[0]) / (this.shown[1] - this.shown[0]);
    const moved = (this.whole[0] - this.shown[0]) / (this.shown[1] - this.shown[0]) * (this.to - this.from);
    return [scale, this.from * (1 - scale) + moved];
  }
  // Round numbers that lie in what is shown.
  get marks() {
    const [low, high] = [...this.shown].sort((a, b) => a - b);
    if (this.log && high - low > 0.7) {
      const found = [];
      for (let power = Math.floor(low); power <= high; power++)
        for (const digit of high - low > 3 ? [1] : [1, 2, 5]) found.push(digit * 10 ** power);
      return found.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high);
    }
    const [a, b] = this.log ? [10 ** low, 10 ** high] : [low, high];
    const rough = (b - a) / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((digit) => digit * power >= rough);
    const found = [];
    for (let n = Math.ceil(a / step - 1e-9); n * step <= b + 1e-9 * step; n++) found.push(Number((n * step).toPrecision(12)));
    return found;
  }
}

class Panel {
  constructor(plot, index, spec) {
    Object.assign(this, { plot, index, series: [], zoomable: false, pieces: null });
    const [left, top, right, bottom] = spec.box;
    this.axes = { x: new Axis(spec.x, left, right), y: new Axis(spec.y, bottom, top) };
    this.group = plot.svg.querySelector(`#${CSS.escape(plot.name)}-panel-${index}`);
  }
  holds(point) { return this.axes.x.inside(point.x) && this.axes.y.inside(point.y); }
  place(series, index) { return { x: this.axes.x.place(series.x[index]), y: this.axes.y.place(series.y[index]) }; }

  // Everything that is cut off at the frame, with its coordinates as they were drawn.
  prepare() {
    this.pieces = [];
    for (const clipped of this.group.querySelectorAll("[clip-path]")) {
      const outer = shape("g", { "clip-path": clipped.getAttribute("clip-path") });
      clipped.removeAttribute("clip-path");
      clipped.replaceWith(outer);
      outer.append(clipped);
      const own = (selector) => [...(clipped.matches(selector) ? [clipped] : []), ...clipped.querySelectorAll(selector)];
      for (const use of own("use")) {
        const [x, y] = ["x", "y"].map((key) => Number(use.getAttribute(key)));
        // Markers have places; areas have their coordinates in what is referred to.
        this.pieces.push(x === 0 ? { element: use, area: true } : { element: use, x, y });
      }
      for (const path of own("path").filter((one) => !one.closest("defs")))
        this.pieces.push({ element: path, tokens: path.getAttribute("d").match(/[A-Za-z]|-?[\d.]+/g) });
      if (own("image").length) this.pieces.push({ element: clipped, image: true });
    }
    this.ticks = {};
    for (const name of ["x", "y"]) {
      const groups = [...this.group.querySelectorAll(`[id*="-${name}tick_"]`)];
      this.ticks[name] = groups.map((group, index) => ({ group, at: this.axes[name].ticks[index] }));
      if (groups.length !== this.axes[name].ticks.length) this.axes[name].named = false;
    }
    this.own = shape("g", { "class": "ticks" });
    this.group.append(this.own);
  }

  redraw() {
    if (!this.pieces) this.prepare();
    const [sx, tx] = this.axes.x.transform, [sy, ty] = this.axes.y.transform;
    for (const piece of this.pieces) {
      if (piece.image) piece.element.parentNode.firstChild.setAttribute("transform", `matrix(${sx} 0 0 ${sy} ${tx} ${ty})`);
      else if (piece.area) piece.element.setAttribute("transform", `matrix(${sx} 0 0 ${sy} ${tx} ${ty})`);
      else if (piece.tokens) {
        let isX = true;
        piece.element.setAttribute("d", piece.tokens.map((token) => {
          if (/[A-Za-z]/.test(token)) { isX = true; return token; }
          const moved = isX ? sx * token + tx : sy * token + ty;
          isX = !isX;
          return moved.toFixed(2);
        }).join(" "));
      } else {
        piece.element.setAttribute("x", sx * piece.x + tx);
        piece.element.setAttribute("y", sy * piece.y + ty);
      }
    }
    this.own.replaceChildren();
    for (const name of ["x", "y"]) this.redrawTicks(name);
  }

  redrawTicks(name) {
    const axis = this.axes[name], other = this.axes[name === "x" ? "y" : "x"];
    for (const { group, at } of this.ticks[name]) {
      const place = axis.named ? axis.place(at) : 0, moved = axis.named ? place - axis.place(at, axis.whole) : 0;
      group.setAttribute("transform", name === "x" ? `translate(${moved} 0)` : `translate(0 ${moved})`);
      group.style.display = axis.zoomed && !(axis.named && axis.inside(place)) ? "none" : "";
    }
    if (!axis.zoomed || axis.named || !axis.ticks.length) return;
    for (const value of axis.marks) {
      const at = axis.place(value), edge = other.from;
      const [x1, y1, x2, y2] = name === "x" ? [at, edge, at, edge - 3.5] : [edge, at, edge + 3.5, at];
      this.own.append(shape("line", { x1, y1, x2, y2, style: "stroke: #000000; stroke-width: 0.8" }));
      if (!axis.labels) continue;
      const label = shape("text", name === "x" ? { x: at, y: edge + 12, "text-anchor": "middle" }
        : { x: edge - 4, y: at + 3, "text-anchor": "end" });
      label.style.cssText = "font: 9.5px 'STIX Two Text', 'Times New Roman', serif";
      label.textContent = String(value).replace("-", "−");
      this.own.append(label);
    }
  }
}

class Plot {
  constructor(figure) {
    this.figure = figure;
    this.name = figure.id;
    this.frame = figure.querySelector(".frame");
    this.svg = figure.querySelector("svg");
    const data = JSON.parse(figure.querySelector("script").textContent);
    this.panels = data.panels.map((spec, index) => new Panel(this, index, spec));
    this.hidden = new Set();
    for (const layer of data.layers) this.add(layer, data.layers);
    this.active = this.panels.filter((panel) => panel.series.length);
    this.controls(data.files);
    if (this.active.length) this.listen();
  }

  add(layer, layers) {
    const panel = this.panels[layer.panel];
    panel.zoomable ||= layer.zoom && Boolean(panel.group);
    if (layer.kind === "points") {
      const order = layer.x.map((_, index) => index).filter((i) => layer.x[i] !== null && layer.y[i] !== null);
      const pick = (list) => order.map((index) => list[index]), text = pick(layer.text);
      panel.series.push({ curve: layer.curve, x: pick(layer.x), y: pick(layer.y), text: (index) => text[index] });
      return;
    }
    const bands = layer.kind === "errors" ? layers[layer.of] : layer;
    const [model, reference] = [bands.curves[1], bands.curves[0]];
    for (const curve of layer.kind === "errors" ? [model] : bands.curves.filter((one) => !one.hidden))
      for (let branch = 0; branch < curve.y[0].length; branch++) {
        const y = curve.y.map((row, index) => {
          const value = row[branch], zero = layer.kind === "errors" ? reference.y[index][branch] : 0;
          return value === null || zero === null ? NaN : value - zero;
        });
        panel.series.push({ curve: curve.name, x: bands.x, y, text: (index) => this.describe(bands, index, branch) });
      }
  }

  describe(bands, index, branch) {
    const [reference] = bands.curves, truth = reference.y[index][branch], lines = [`q${bands.at[index]}, branch ${branch + 1}`];
    for (const curve of bands.curves) {
      const value = curve.y[index][branch], known = value !== null && truth !== null && !curve.hidden;
      lines.push(`${curve.name} ${value === null ? "not finite" : `${format(value)} ${bands.unit}`}`
        + (known && curve !== reference ? `, error ${format(value - truth, "+")} ${bands.unit}` : ""));
    }
    return lines.join("\n");
  }

  controls(files) {
    const bar = element("div", { "class": "controls", role: "group", "aria-label": "Controls of the figure" });
    const button = (text, title, action, attributes = {}) => {
      const made = element("button", { type: "button", title, ...attributes }, text);
      made.addEventListener("click", () => action(made));
      bar.append(made);
    };
    const curves = new Set([...this.svg.querySelectorAll("[data-curve]")].map((one) => one.dataset.curve));
    if (curves.size > 1)
      for (const curve of [...curves].sort())
        button(curve, `Show or hide ${curve}`, (made) => this.toggle(curve, made), { "aria-pressed": "true" });
    if (this.active.some((panel) => panel.zoomable)) {
      button("+", "Zoom in", () => this.zoom(0.5), { "aria-label": "Zoom in" });
      button("−", "Zoom out", () => this.zoom(2), { "aria-label": "Zoom out" });
      button("Whole", "Show everything again", () => this.reset());
    }
    button("SVG", "Save the picture as SVG", () => this.saveSvg());
    button("PNG", "Save the picture as PNG", () => this.savePng());
    if ("DecompressionStream" in window)
      for (const [name, packed] of Object.entries(files)) button(name, `Save the data: ${name}`, () => this.saveTable(name, packed));
    this.figure.prepend(bar);
  }

  toggle(curve, button) {
    const hide = !this.hidden.has(curve);
    this.hidden[hide ? "add" : "delete"](curve);
    button.setAttribute("aria-pressed", String(!hide));
    for (const one of this.svg.querySelectorAll("[data-curve]"))
      if (one.dataset.curve === curve) one.style.display = hide ? "none" : "";
    this.mark(null);
  }

  listen() {
    const { frame, svg } = this;
    this.marker = shape("circle", { r: 3.6, "class": "marker", "aria-hidden": "true" });
    this.rubber = shape("rect", { "class": "rubber", "aria-hidden": "true" });
    this.tip = element("output", { "class": "tip", "aria-live": "polite" });
    svg.append(this.rubber, this.marker);
    this.figure.append(this.tip);
    frame.setAttribute("role", "application");
    const zoomable = this.active.some((panel) => panel.zoomable);
    frame.setAttribute("aria-label", `${svg.getAttribute("aria-label")} Arrow keys go from point to point, Page Up and `
      + `Page Down from panel to panel${zoomable ? ", plus and minus zoom, 0 shows everything" : ""}. Escape leaves.`);
    svg.addEventListener("pointermove", (event) => this.move(event));
    svg.addEventListener("pointerleave", () => { if (!this.drag) this.mark(null); });
    svg.addEventListener("pointerdown", (event) => this.press(event));
    svg.addEventListener("pointerup", (event) => this.release(event));
    svg.addEventListener("pointercancel", () => this.release(null));
    svg.addEventListener("dblclick", () => this.reset());
    frame.addEventListener("keydown", (event) => this.key(event));
    frame.addEventListener("blur", () => this.mark(null));
  }

  point(event) { return new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse()); }
  visible(panel) { return panel.series.filter((series) => !this.hidden.has(series.curve)); }

  nearest(panel, point) {
    let found = null, least = NEAR / this.svg.getScreenCTM().a;
    for (const series of this.visible(panel))
      for (let index = 0; index < series.x.length; index++) {
        const place = panel.place(series, index), distance = Math.hypot(place.x - point.x, place.y - point.y);
        if (distance < least && panel.holds(place)) [found, least] = [{ panel, series, index }, distance];
      }
    return found;
  }

  move(event) {
    const point = this.point(event);
    if (this.drag) {
      const { start, panel } = this.drag, clamp = (name, value) => {
        const { from, to } = panel.axes[name];
        return Math.min(Math.max(value, Math.min(from, to)), Math.max(from, to));
      };
      this.drag.end = { x: clamp("x", point.x), y: clamp("y", point.y) };
      const { end } = this.drag;
      for (const [key, value] of Object.entries({ x: Math.min(start.x, end.x), y: Math.min(start.y, end.y),
        width: Math.abs(end.x - start.x), height: Math.abs(end.y - start.y) })) this.rubber.setAttribute(key, value);
      return;
    }
    const panel = this.active.find((one) => one.holds(point));
    this.mark(panel ? this.nearest(panel, point) : null, false);
  }

  press(event) {
    if (event.pointerType !== "mouse" || event.button !== 0) { this.move(event); return; }
    const point = this.point(event), panel = this.active.find((one) => one.zoomable && one.holds(point));
    if (!panel) return;
    event.preventDefault();
    this.frame.focus({ preventScroll: true });
    this.drag = { panel, start: point, end: point };
    this.svg.setPointerCapture(event.pointerId);
  }

  release(event) {
    const drag = this.drag;
    this.drag = null;
    for (const key of ["width", "height"]) this.rubber.setAttribute(key, 0);
    if (!drag || !event || Math.hypot(drag.end.x - drag.start.x, drag.end.y - drag.start.y) < 6) return;
    for (const name of ["x", "y"])
      if (Math.abs(drag.end[name] - drag.start[name]) > 4) {
        const axis = drag.panel.axes[name], { from, to } = axis;
        const edges = [drag.start[name], drag.end[name]].sort((a, b) => (a - b) * Math.sign(to - from));
        this.show(drag.panel, name, edges.map((edge) => axis.value(edge)));
      }
    this.redraw();
  }

  // All panels that share the axis show the same part of it.
  show(panel, name, range) {
    for (const other of this.panels)
      if (other.axes[name].share === panel.axes[name].share) other.axes[name].shown = [...range];
  }

  zoom(factor) {
    const at = this.marked?.panel.zoomable ? this.marked : null;
    const panel = at ? at.panel : this.active.find((one) => one.zoomable);
    if (!panel) return;
    for (const name of ["x", "y"]) {
      const axis = panel.axes[name], [low, high] = axis.shown;
      const centre = at ? axis.linear(at.series[name][at.index]) : (low + high) / 2, half = factor * (high - low) / 2;
      const [first, last] = axis.whole, sign = Math.sign(last - first);
      let range = [centre - half, centre + half];
      if (Math.abs(2 * half) >= Math.abs(last - first)) range = [first, last];
      else if ((range[0] - first) * sign < 0) range = [first, first + 2 * half];
      else if ((range[1] - last) * sign > 0) range = [last - 2 * half, last];
      this.show(panel, name, range);
    }
    this.redraw();
  }

  reset() {
    for (const panel of this.panels) for (const axis of Object.values(panel.axes)) axis.shown = [...axis.whole];
    this.redraw();
  }

  redraw() {
    for (const panel of this.panels)
      if (panel.group && (panel.pieces || panel.axes.x.zoomed || panel.axes.y.zoomed)) panel.redraw();
    this.mark(this.marked ?? null);
  }

  // Mark a point and say what it is.
  mark(found, aloud = true) {
    this.marked = found;
    if (!this.tip) return;
    this.tip.setAttribute("aria-live", aloud ? "polite" : "off");
    this.tip.textContent = found ? found.series.text(found.index) : "";
    const place = found && found.panel.place(found.series, found.index);
    const seen = Boolean(found) && found.panel.holds(place);
    this.marker.style.display = seen ? "block" : "none";
    this.tip.style.display = found ? "block" : "none";
    if (!found) return;
    this.marker.setAttribute("cx", place.x);
    this.marker.setAttribute("cy", place.y);
    const at = new DOMPoint(place.x, place.y).matrixTransform(this.svg.getScreenCTM());
    const around = this.figure.getBoundingClientRect(), x = at.x - around.left, y = at.y - around.top;
    const { offsetWidth: width, offsetHeight: height } = this.tip;
    const beside = x + 14 + width <= around.width ? x + 14 : x - 14 - width;
    this.tip.style.left = `${Math.max(0, Math.min(beside, around.width - width))}px`;
    this.tip.style.top = `${y - 14 - height >= 0 ? y - 14 - height : y + 14}px`;
  }

  key(event) {
    if (event.target !== this.frame || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], side = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const page = { PageUp: -1, PageDown: 1 }[event.key];
    if (step) this.go((at) => ({ ...at, index: at.index + step * (event.shiftKey ? 10 : 1) }));
    else if (side) this.go((at) => {
      const all = this.visible(at.panel), series = all[(all.indexOf(at.series) + side + all.length) % all.length];
      const x = at.series.x[at.index], apart = series.x.map((value) => Math.abs(value - x));
      return { ...at, series, index: series.x[at.index] === x ? at.index : apart.indexOf(Math.min(...apart)) };
    });
    else if (page) this.go((at) => {
      const all = this.active, panel = all[(all.indexOf(at.panel) + page + all.length) % all.length];
      return { panel, series: this.visible(panel)[0], index: 0 };
    });
    else if (event.key === "+" || event.key === "=") this.zoom(0.5);
    else if (event.key === "-") this.zoom(2);
    else if (event.key === "0") this.reset();
    else if (event.key === "Escape") this.mark(null);
    else return;
    event.preventDefault();
  }

  go(next) {
    let at = this.marked;
    if (!at) {
      const panel = this.active.find((one) => this.visible(one).length);
      if (!panel) return;
      at = { panel, series: this.visible(panel)[0], index: 0 };
    } else at = next(at);
    if (!at.series) return;
    this.mark({ ...at, index: Math.min(Math.max(at.index, 0), at.series.x.length - 1) });
  }

  // The picture as it is shown, in the colours of print.
  picture() {
    const copy = this.svg.cloneNode(true), [, , width, height] = this.svg.getAttribute("viewBox").split(" ");
    for (const one of copy.querySelectorAll(".marker, .rubber")) one.remove();
    for (const one of copy.querySelectorAll("[data-curve]")) if (one.style.display === "none") one.remove();
    for (const [key, value] of Object.entries({ width: `${width}pt`, height: `${height}pt` })) copy.setAttribute(key, value);
    const style = shape("style");
    style.textContent = "*{stroke-linejoin:round;stroke-linecap:butt}";
    copy.prepend(style);
    return { text: new XMLSerializer().serializeToString(copy), width: Number(width), height: Number(height) };
  }

  save(blob, name) {
    const link = element("a", { href: URL.createObjectURL(blob), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  saveSvg() { this.save(new Blob([this.picture().text], { type: "image/svg+xml" }), `${this.name}.svg`); }

  async savePng() {
    const { text, width, height } = this.picture(), scale = 3, image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    await image.decode();
    const canvas = element("canvas", { width: Math.round(scale * width), height: Math.round(scale * height) });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => this.save(blob, `${this.name}.png`), "image/png");
  }

  async saveTable(name, packed) {
    const bytes = Uint8Array.from(atob(packed), (char) => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    this.save(new Blob([await new Response(stream).text()], { type: "text/csv" }), name);
  }
}

window.ndscPlots = [...document.querySelectorAll("figure.plot")].map((figure) => new Plot(figure));
})();
