"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = id => document.getElementById(id);
  const canvas = $("scene"), ink = canvas.getContext("2d");
  const GROUND_M = -1.7, NEAR_M = 0.1;
  const EDGES = [[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]];
  const shown = { frame: 0, hidden: new Set(), score: data.score, map: "", picked: null };
  // an orthographic view: turned about z by azimuth, seen from an elevation, scale in pixels a metre
  const view = { azimuth: 0, elevation: Math.PI / 2, scale: 8, x: 0, y: 0 };

  const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const decoded = data.scenes.map(scene => {
    const raw = bytes(scene.points);
    const maps = {};
    for (const [name, one] of Object.entries(scene.maps)) maps[name] = { ...one, picture: tinted(one) };
    return { points: new Int16Array(raw.buffer), maps };
  });
  const ramp = colours(data.ramp);

  function colours(stops) {  // 64 colours from low to high, as little-endian ABGR
    const rgb = stops.map(s => [1, 3, 5].map(i => parseInt(s.slice(i, i + 2), 16)));
    return Uint32Array.from({ length: 64 }, (_, i) => {
      const place = i / 63 * (rgb.length - 1), low = Math.min(Math.floor(place), rgb.length - 2);
      const [r, g, b] = rgb[low].map((v, k) => Math.round(v + (place - low) * (rgb[low + 1][k] - v)));
      return (255 << 24 | b << 16 | g << 8 | r) >>> 0;
    });
  }

  function tinted(map) {
    const [rows, columns] = map.shape, values = bytes(map.data);
    const picture = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
    const image = new ImageData(columns, rows);
    values.forEach((v, i) => image.data.set([255, 110 + v / 3, 40, v * 0.85], 4 * i));
    picture.getContext("2d").putImageData(image, 0, 0);
    return picture;
  }

  // ---- projection ----
  function axes() {
    const c = Math.cos(view.azimuth), s = Math.sin(view.azimuth);
    const up = Math.sin(view.elevation), high = Math.cos(view.elevation);
    return { ax: s * view.scale, ay: -c * view.scale, bx: -c * up * view.scale,
      by: -s * up * view.scale, bz: -high * view.scale,
      x0: canvas.width / 2, y0: canvas.height / 2 };
  }
  function project(a, x, y, z) {
    x -= view.x; y -= view.y; z -= GROUND_M;
    return [a.x0 + a.ax * x + a.ay * y, a.y0 + a.bx * x + a.by * y + a.bz * z];
  }
  function ground(px, py) {  // the place on the ground under a pixel
    const a = axes(), u = px - a.x0, v = py - a.y0, d = a.ax * a.by - a.ay * a.bx;
    return [view.x + (u * a.by - v * a.ay) / d, view.y + (a.ax * v - a.bx * u) / d];
  }

  // ---- drawing ----
  function draw() {
    const scene = data.scenes[shown.frame], own = decoded[shown.frame], a = axes();
    ink.setTransform(1, 0, 0, 1, 0, 0);
    if (shown.hidden.has("points")) { ink.fillStyle = "#10151f"; ink.fillRect(0, 0, canvas.width, canvas.height); }
    else drawPoints(own.points, a);
    if (own.maps[shown.map]) drawMap(own.maps[shown.map], a);
    drawRings(a);
    for (const [name, boxes] of Object.entries(scene.groups)) {
      if (!shown.hidden.has(name)) boxes.filter(visible).forEach(one => drawBox(name, one, a));
    }
  }

  function drawPoints(points, a) {
    const width = canvas.width, height = canvas.height, size = Math.max(1, Math.round(window.devicePixelRatio || 1));
    const image = ink.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    pixels.fill(0xff1f1510);
    for (let i = 0; i < points.length; i += 3) {
      const z = points[i + 2] / 100, place = project(a, points[i] / 100, points[i + 1] / 100, z);
      const column = Math.round(place[0]), row = Math.round(place[1]);
      if (column < 0 || row < 0 || column >= width - size || row >= height - size) continue;
      const colour = ramp[Math.max(0, Math.min(63, Math.round((z + 2) / 3.5 * 63)))];
      for (let j = 0; j < size; j++) for (let k = 0; k < size; k++) pixels[(row + j) * width + column + k] = colour;
    }
    ink.putImageData(image, 0, 0);
  }

  function drawMap(map, a) {
    const [x0, y0, x1, y1] = map.extent, [rows, columns] = map.shape;
    const dx = (x1 - x0) / columns, dy = (y1 - y0) / rows, corner = project(a, x0, y0, GROUND_M);
    ink.save();
    ink.imageSmoothingEnabled = false;
    ink.setTransform(a.ax * dx, a.bx * dx, a.ay * dy, a.by * dy, corner[0], corner[1]);
    ink.drawImage(map.picture, 0, 0);
    ink.restore();
    const edge = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]].map(([x, y]) => project(a, x, y, GROUND_M));
    stroke([edge], "#6b778a", 1, []);
  }

  function drawRings(a) {
    for (let radius = 10; radius <= 100; radius += 10) {
      const ring = Array.from({ length: 73 }, (_, i) =>
        project(a, radius * Math.cos(i * Math.PI / 36), radius * Math.sin(i * Math.PI / 36), GROUND_M));
      stroke([ring], radius % 50 ? "#2a3344" : "#465268", 1, []);
    }
    ink.fillStyle = "#9aa7b8";
    ink.font = `${11 * ratio()}px sans-serif`;
    for (const radius of [10, 20, 30, 50, 70, 100]) {
      const [x, y] = project(a, radius, 0, GROUND_M);
      ink.fillText(`${radius} m`, x + 3 * ratio(), y - 3 * ratio());
    }
    const car = [[-1, 0.7], [1.6, 0], [-1, -0.7], [-1, 0.7]].map(([x, y]) => project(a, x, y, GROUND_M));
    stroke([car], "#d7deea", 1.5, []);
  }

  function drawBox(name, one, a) {
    const style = data.styles[name], corners = cornersOf(one.box);
    const at = corners.map(c => project(a, ...c));
    const lines = EDGES.map(([i, j]) => [at[i], at[j]]);
    const [x, y, z, dx, , dz, yaw] = one.box;
    const nose = project(a, x + Math.cos(yaw) * dx * 0.75, y + Math.sin(yaw) * dx * 0.75, z + dz / 2);
    const middle = project(a, x + Math.cos(yaw) * dx / 2, y + Math.sin(yaw) * dx / 2, z + dz / 2);
    const width = shown.picked === one ? 3.5 : one.score === null ? 2 : 1.6;
    ink.globalAlpha = one.score === null ? 1 : 0.45 + 0.55 * one.score;
    stroke(lines, style.color, width, style.dashed ? [5, 3] : []);
    stroke([[middle, nose]], style.color, width, []);
    ink.globalAlpha = 1;
  }

  function stroke(lines, colour, width, dash, target = ink, scale = ratio()) {
    target.strokeStyle = colour;
    target.lineWidth = width * scale;
    target.setLineDash(dash.map(d => d * scale));
    target.beginPath();
    for (const line of lines) line.forEach(([x, y], i) => i ? target.lineTo(x, y) : target.moveTo(x, y));
    target.stroke();
  }

  function cornersOf([x, y, z, dx, dy, dz, yaw]) {
    const c = Math.cos(yaw), s = Math.sin(yaw), flat = [[1, 1], [1, -1], [-1, -1], [-1, 1]];
    return [z, z + dz].flatMap(height => flat.map(([i, j]) =>
      [x + c * i * dx / 2 - s * j * dy / 2, y + s * i * dx / 2 + c * j * dy / 2, height]));
  }

  const visible = one => one.score === null || one.score >= shown.score;
  const ratio = () => window.devicePixelRatio || 1;

  // ---- pictures ----
  function drawPictures() {
    const scene = data.scenes[shown.frame], place = $("pictures");
    place.replaceChildren();
    for (const [name, one] of Object.entries(scene.pictures)) {
      const figure = document.createElement("figure"), words = document.createElement("figcaption");
      const own = Object.assign(document.createElement("canvas"), { width: one.size[0], height: one.size[1] });
      words.textContent = name;
      figure.append(own, words);
      place.append(figure);
      const photo = new Image();
      photo.onload = () => { one.photo = photo; drawPicture(own, one, scene); };
      photo.src = one.src;
      own.redraw = () => one.photo && drawPicture(own, one, scene);
    }
  }

  function drawPicture(own, one, scene) {
    const brush = own.getContext("2d");
    brush.drawImage(one.photo, 0, 0, own.width, own.height);
    for (const [name, boxes] of Object.entries(scene.groups)) {
      if (shown.hidden.has(name)) continue;
      const style = data.styles[name];
      for (const box of boxes.filter(visible)) {
        const at = cornersOf(box.box).map(c => toCamera(one.matrix, c));
        if (at.every(c => c[2] <= NEAR_M)) continue;
        const lines = EDGES.map(([i, j]) => cut(at[i], at[j])).filter(Boolean);
        brush.globalAlpha = box.score === null ? 1 : 0.45 + 0.55 * box.score;
        stroke(lines, style.color, shown.picked === box ? 3.5 : 1.8, style.dashed ? [5, 3] : [], brush, 1);
        brush.globalAlpha = 1;
      }
    }
  }

  const toCamera = (m, [x, y, z]) => [0, 4, 8].map(r => m[r] * x + m[r + 1] * y + m[r + 2] * z + m[r + 3]);
  function cut(p, q) {  // the part of a segment in front of the camera, in pixels
    if (p[2] <= NEAR_M && q[2] <= NEAR_M) return null;
    const clip = (from, to) => {
      if (from[2] > NEAR_M) return from;
      const share = (NEAR_M - from[2]) / (to[2] - from[2]);
      return from.map((v, i) => v + share * (to[i] - v));
    };
    return [clip(p, q), clip(q, p)].map(c => [c[0] / c[2], c[1] / c[2]]);
  }

  // ---- controls ----
  function layers() {
    const scene = data.scenes[shown.frame], place = $("layers");
    place.replaceChildren();
    const rows = [["points", "#a3b4c9", `${(decoded[shown.frame].points.length / 3).toLocaleString("en")} of ${scene.total.toLocaleString("en")}`]];
    for (const [name, boxes] of Object.entries(scene.groups)) rows.push([name, data.styles[name].color, boxes.filter(visible).length]);
    for (const [name, colour, count] of rows) {
      const label = document.createElement("label"), box = document.createElement("input");
      const line = document.createElement("i"), number = document.createElement("small");
      label.className = "layer";
      Object.assign(box, { type: "checkbox", checked: !shown.hidden.has(name) });
      box.onchange = () => { shown.hidden[box.checked ? "delete" : "add"](name); redraw(); };
      line.style.color = colour;
      if (data.styles[name] && data.styles[name].dashed) line.style.borderTopStyle = "dashed";
      number.textContent = count;
      label.append(box, line, name, number);
      place.append(label);
    }
    const maps = ["", ...Object.keys(scene.maps)];
    if (!maps.includes(shown.map)) shown.map = "";
    $("map").replaceChildren(...maps.map(name => new Option(name || "nothing", name, false, name === shown.map)));
    $("map").parentElement.hidden = maps.length === 1;
  }

  function redraw() { draw(); document.querySelectorAll("#pictures canvas").forEach(c => c.redraw && c.redraw()); }
  function show(frame) {
    shown.frame = (frame + data.scenes.length) % data.scenes.length;
    shown.picked = null;
    $("told").textContent = "";
    $("frame").value = shown.frame;
    layers();
    draw();
    drawPictures();
  }

  function fit() {  // all boxes and the car; without boxes most of the points
    const boxes = Object.values(data.scenes[shown.frame].groups).flat().filter(visible);
    const reach = boxes.map(one => one.box), points = decoded[shown.frame].points;
    for (let i = 0; !boxes.length && i < points.length; i += 30) reach.push([points[i] / 100, points[i + 1] / 100]);
    const outer = boxes.length ? 0 : 0.025;
    const range = k => {
      const sorted = reach.map(p => p[k]).sort((p, q) => p - q), at = s => sorted[Math.floor(s * (sorted.length - 1))] || 0;
      return [Math.min(at(outer) - 3, -5), Math.max(at(1 - outer) + 3, 5)];
    };
    const [x0, x1] = range(0), [y0, y1] = range(1);
    view.x = (x0 + x1) / 2; view.y = (y0 + y1) / 2;
    view.scale = Math.min(canvas.height / (x1 - x0), canvas.width / (y1 - y0));
  }

  function resize() {
    const width = canvas.parentElement.clientWidth, height = Math.max(320, Math.min(width * 1.05, window.innerHeight * 0.72));
    const before = canvas.width;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio());
    canvas.height = Math.round(height * ratio());
    if (before) view.scale *= canvas.width / before;
    draw();
  }

  const touches = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    touches.set(event.pointerId, [event.offsetX, event.offsetY]);
    moved = 0;
  });
  canvas.addEventListener("pointermove", event => {
    const before = touches.get(event.pointerId);
    if (!before) return;
    const now = [event.offsetX, event.offsetY], dx = now[0] - before[0], dy = now[1] - before[1];
    moved += Math.abs(dx) + Math.abs(dy);
    if (touches.size === 2) {
      const [other] = [...touches].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
      const gap = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
      view.scale *= gap(now) / Math.max(gap(before), 1);
    } else if (event.shiftKey || event.buttons & 2) {
      view.azimuth += dx * 0.008;
      view.elevation = Math.max(0.15, Math.min(Math.PI / 2, view.elevation + dy * 0.008));
    } else {
      const [fromX, fromY] = ground(before[0] * ratio(), before[1] * ratio());
      const [toX, toY] = ground(now[0] * ratio(), now[1] * ratio());
      view.x -= toX - fromX; view.y -= toY - fromY;
    }
    touches.set(event.pointerId, now);
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, event => {
      touches.delete(event.pointerId);
      if (end === "pointerup" && moved < 4) pick(event.offsetX * ratio(), event.offsetY * ratio());
    });
  }
  canvas.addEventListener("contextmenu", event => event.preventDefault());
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    view.scale *= Math.exp(-event.deltaY * 0.0015);
    draw();
  }, { passive: false });

  function pick(px, py) {
    const scene = data.scenes[shown.frame], a = axes();
    let best = 24 * ratio(), found = null;
    for (const [name, boxes] of Object.entries(scene.groups)) {
      if (shown.hidden.has(name)) continue;
      for (const one of boxes.filter(visible)) {
        const [x, y] = project(a, one.box[0], one.box[1], one.box[2] + one.box[5] / 2);
        if (Math.hypot(x - px, y - py) < best) { best = Math.hypot(x - px, y - py); found = [name, one]; }
      }
    }
    shown.picked = found && found[1];
    const [x, y] = ground(px, py);
    $("told").textContent = found
      ? `${found[0]}: ${found[1].name}${found[1].score === null ? "" : `, score ${found[1].score.toFixed(2)}`}, ${Math.hypot(found[1].box[0], found[1].box[1]).toFixed(1)} m away, ${found[1].box.slice(3, 6).map(v => v.toFixed(1)).join(" × ")} m`
      : `x ${x.toFixed(1)} m, y ${y.toFixed(1)} m`;
    redraw();
  }

  data.scenes.forEach((scene, i) => $("frame").append(new Option(scene.name, i)));
  $("frame").onchange = event => show(Number(event.target.value));
  $("back").onclick = () => show(shown.frame - 1);
  $("on").onclick = () => show(shown.frame + 1);
  $("above").onclick = () => { Object.assign(view, { azimuth: 0, elevation: Math.PI / 2 }); fit(); draw(); };
  $("oblique").onclick = () => { Object.assign(view, { azimuth: 0.35, elevation: 0.6 }); fit(); draw(); };
  $("map").onchange = event => { shown.map = event.target.value; draw(); };
  $("score").value = shown.score;
  $("score").oninput = event => { shown.score = Number(event.target.value); $("least").value = shown.score.toFixed(2); layers(); redraw(); };
  $("least").value = shown.score.toFixed(2);
  addEventListener("keydown", event => {
    if (event.target.matches("select, input")) return;
    if (event.key === "ArrowRight") show(shown.frame + 1);
    if (event.key === "ArrowLeft") show(shown.frame - 1);
  });
  addEventListener("resize", resize);
  resize();
  fit();
  show(0);
})();
