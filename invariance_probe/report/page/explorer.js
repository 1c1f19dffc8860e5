(function () {
  "use strict";
  const WORDS = { proven: "proven", found: "best found", estimated: "estimated", measured: "measured" };
  const number = function (x) { return x === null || x === undefined ? "–" : x.toFixed(x < 0.095 ? 3 : 2); };
  const interval = function (m) {
    return m === null ? "–" : number(m[0]) + (m[1] === null ? "" : " [" + number(m[1]) + ", " + number(m[2]) + "]");
  };
  function make(kind, parent, attributes, text) {
    const made = document.createElement(kind);
    Object.entries(attributes || {}).forEach(function (pair) { made.setAttribute(pair[0], pair[1]); });
    if (text !== undefined) made.textContent = text;
    if (parent) parent.appendChild(made);
    return made;
  }
  function choice(parent, id, label, words) {
    const box = make("p", parent, { class: "choice" });
    make("label", box, { for: id }, label);
    const select = make("select", box, { id: id });
    words.forEach(function (word, place) { make("option", select, { value: place }, word); });
    if (words.length < 2) box.hidden = true;
    return select;
  }
  function decoded(source) {
    const image = new Image();
    image.src = source;
    return image.decode().then(function () {
      const canvas = document.createElement("canvas");
      canvas.width = image.width; canvas.height = image.height;
      const brush = canvas.getContext("2d", { willReadFrequently: true });
      brush.drawImage(image, 0, 0);
      return brush.getImageData(0, 0, image.width, image.height);
    });
  }
  function shades(colours) {
    return Array.from({ length: 256 }, function (_, i) {
      const c = d3.rgb(colours(i / 255));
      return [c.r, c.g, c.b];
    });
  }

  document.querySelectorAll(".explorer").forEach(function (place) {
    const data = JSON.parse(document.getElementById(place.dataset.from).textContent);
    const own = place.dataset.from;
    const viridis = shades(d3.interpolateViridis);
    const diverging = shades(function (t) { return d3.interpolateRdBu(1 - t); });
    const method = {};
    data.methods.forEach(function (one) { method[one.name] = one; });
    const curved = data.methods.filter(function (one) { return !["floor", "unrelated"].includes(one.name); });
    const usual = Math.max(0, curved.findIndex(function (one) { return one.name === "affine"; }));
    const sheets = new Map();
    let alone = null;

    // --- controls, all native
    const form = make("form", place, { class: "controls", "aria-label": "What to look at" });
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    const layer = choice(form, own + "-layer", "Layer", data.layers.map(function (n, i) { return n + " (" + data.shapes[i] + ")"; }));
    const family = choice(form, own + "-family", "Transform", data.families.map(function (f) { return f.kind; }));
    const slide = make("p", form, { class: "choice wide" });
    const slideLabel = make("label", slide, { for: own + "-strength" }, "Strength");
    const strength = make("input", slide, { id: own + "-strength", type: "range", min: 0, step: 1 });
    const image = choice(form, own + "-image", "Image", data.images);
    const channel = choice(form, own + "-channel", "Channel", []);
    const curve = choice(form, own + "-curve", "Curves of", curved.map(function (m) { return m.label; }));
    curve.value = usual;

    const said = make("p", place, { class: "verdict", "aria-live": "polite" });
    const strip = make("div", place, { class: "strip" });
    const pointed = make("p", place, { class: "note", role: "status" });
    const both = make("div", place, { class: "both" });
    const table = make("div", both, { class: "pair", tabindex: 0, role: "region", "aria-label": "Numbers of this pair" });
    const curves = make("div", both, { class: "curves" });

    function now() {
      const group = data.families[family.value];
      const i = Number(strength.value);
      return { group: group, at: i, n: group.numbers[i], layer: Number(layer.value), image: Number(image.value || 0) };
    }

    function fitRange() {
      const group = data.families[family.value];
      strength.max = group.numbers.length - 1;
      const moving = group.numbers.map(function (n, i) { return i; }).filter(function (i) {
        return method.identity === undefined || (method.identity.means[0][group.numbers[i]] || [1])[0] !== 0;
      });
      strength.value = moving.length ? moving[Math.floor(moving.length * 2 / 3)] : 0;
    }

    function sheet(at) {
      const row = data.maps[at.image];
      return row ? row[at.layer] : null;
    }

    function fitChannels() {
      const one = sheet(now());
      const before = channel.value;
      channel.textContent = "";
      (one ? one.channels : []).forEach(function (c, i) { make("option", channel, { value: i }, String(c)); });
      channel.parentNode.hidden = !one || one.channels.length < 2;
      channel.value = before && one && before < one.channels.length ? before : 0;
    }

    // --- the sentence and the numbers of the pair
    function speak(at) {
      const v = data.verdicts[at.layer][at.n];
      const words = at.group.words[at.at];
      said.textContent = "";
      if (!v) return;
      make("strong", said, {}, data.layers[at.layer] + ", " + words + ": " + v.words + ". ");
      const affine = method.affine ? method.affine.means[at.layer][at.n] : null;
      let rest = "";
      if (affine) rest += "The best warp found of this map leaves " + interval(affine) + " of the variance" + (v.times[0] === null ? "" : ", " + interval(v.times) + " times what a perfect layer would") + ". ";
      if (v.proven[0] !== null) rest += "Proven: of what it leaves, at least " + Math.floor(100 * v.proven[0]) + " % is beyond any warp.";
      make("span", said, {}, rest);
    }

    function tabulate(at) {
      table.textContent = "";
      const grid = make("table", table, { class: "plain" });
      make("caption", grid, {}, "Fraction of variance unexplained: 0 is perfect, 1 no better than the channel means");
      const head = make("tr", make("thead", grid));
      ["compared with the reference", data.images.length ? "this image" : "", "mean, 95 % interval", "how sure"].forEach(function (t) { make("th", head, { scope: "col" }, t); });
      const body = make("tbody", grid);
      data.methods.forEach(function (one) {
        const row = make("tr", body);
        const name = make("th", row, { scope: "row" });
        make("span", name, { class: "dot", style: "" }).style.background = one.name === "any-warp" ? "currentColor" : one.colour;
        make("span", name, {}, one.label);
        const single = one.single[at.layer][at.n];
        make("td", row, { class: "number" }, single && single.length ? number(single[at.image]) : "–");
        make("td", row, { class: "number" }, interval(one.means[at.layer][at.n]));
        make("td", row, {}, WORDS[one.standing]);
      });
    }

    // --- the maps, one scale for all of a channel
    function paint(parent, words, height, width, colour, value) {
      const figure = make("figure", parent);
      const canvas = make("canvas", figure, { width: width, height: height, role: "img", "aria-label": words });
      make("figcaption", figure, {}, words);
      const brush = canvas.getContext("2d");
      const pixels = brush.createImageData(width, height);
      for (let i = 0; i < width * height; i++) {
        const c = colour(i);
        pixels.data[4 * i] = c[0]; pixels.data[4 * i + 1] = c[1]; pixels.data[4 * i + 2] = c[2];
        pixels.data[4 * i + 3] = c.length > 3 ? c[3] : 255;
      }
      brush.putImageData(pixels, 0, 0);
      if (value) canvas.addEventListener("pointermove", function (event) {
        const box = canvas.getBoundingClientRect();
        const x = Math.min(width - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * width)));
        const y = Math.min(height - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * height)));
        pointed.textContent = words + ", row " + y + ", column " + x + ": " + value(y * width + x);
      });
    }

    function bar(parent, colours, low, high, words) {
      const figure = make("figure", parent, { class: "bar" });
      const canvas = make("canvas", figure, { width: 256, height: 1, role: "img", "aria-label": "Colour bar, " + words + ": " + low + " to " + high });
      const brush = canvas.getContext("2d");
      const pixels = brush.createImageData(256, 1);
      colours.forEach(function (c, i) { pixels.data.set([c[0], c[1], c[2], 255], 4 * i); });
      brush.putImageData(pixels, 0, 0);
      const ends = make("figcaption", figure);
      make("span", ends, {}, low); make("span", ends, {}, words); make("span", ends, {}, high);
    }

    function part(pixels, one, row, stage, stages) {
      const across = one.width * (stages + 1);
      return function (i) {
        const y = Math.floor(i / one.width), x = i % one.width;
        return pixels.data[4 * ((row * one.height + y) * across + stage * one.width + x)];
      };
    }

    function lookUp(source) {
      if (!sheets.has(source)) sheets.set(source, decoded(source));
      return sheets.get(source);
    }

    let asked = 0;
    function drawMaps(at) {
      const one = sheet(at), views = data.pictures[at.image];
      const mine = ++asked;
      if (!one || !views || !one.numbers.includes(at.n)) {
        strip.textContent = "";
        pointed.textContent = data.images.length ? "Nothing moves here, so there are no maps to compare." : "This run kept no maps.";
        return;
      }
      Promise.all([lookUp(one.source), lookUp(views.source)]).then(function (found) {
        if (mine !== asked) return;
        strip.textContent = ""; pointed.textContent = "Point at a map to read its values.";
        const c = Number(channel.value), stages = data.stages.length - 1;
        const row = c * one.numbers.length + one.numbers.indexOf(at.n);
        const scale = one.scales[c], low = scale[2], span = Math.max(scale[3] - scale[2], 1e-12);
        const size = views.width * views.height;
        [["input", 0], ["input, moved", 1 + views.numbers.indexOf(at.n)]].forEach(function (view) {
          paint(strip, view[0], views.height, views.width, function (i) {
            const p = 4 * (view[1] * size + i);
            return [found[1].data[p], found[1].data[p + 1], found[1].data[p + 2]];
          });
        });
        const level = data.stages.slice(0, stages).map(function (_, s) {
          const read = part(found[0], one, row, s, stages);
          return function (i) { return scale[0] + scale[1] * read(i); };
        });
        const region = part(found[0], one, row, stages, stages);
        level.forEach(function (value, s) {
          paint(strip, data.stages[s], one.height, one.width, function (i) {
            return viridis[Math.max(0, Math.min(255, Math.round(255 * (value(i) - low) / span)))];
          }, function (i) { return value(i).toPrecision(3); });
        });
        const off = function (i) { return level[3](i) - level[0](i); };
        paint(strip, "difference (best-warped less reference)", one.height, one.width, function (i) {
          return region(i) ? diverging[Math.max(0, Math.min(255, Math.round(127.5 + 127.5 * off(i) / span)))] : [128, 128, 128, 60];
        }, function (i) { return region(i) ? off(i).toPrecision(3) : "not compared"; });
        const bars = make("div", strip, { class: "bars" });
        bar(bars, viridis, low.toPrecision(2), (low + span).toPrecision(2), "activation");
        bar(bars, diverging, (-span).toPrecision(2), span.toPrecision(2), "difference");
      });
    }

    // --- curves, by strength and by depth, with a marker where the reader stands
    const ANCHORS = { "perfect layer (floor)": "perfect layer", "unrelated images (chance)": "chance", "any warp (certified bound)": "proven bound" };
    const STYLE = { background: "none", fontSize: "12px", maxWidth: "100%" };
    function tipped(rows, x) {
      return Plot.tip(rows, Plot.pointer({ x: x, y: "mean", title: "words", fill: "var(--ground)", stroke: "var(--line)" }));
    }
    function rowsOf(one, at) {
      const out = [];
      data.layers.forEach(function (name, l) {
        at.group.numbers.forEach(function (n, i) {
          const m = one.means[l][n];
          if (m && m[0] !== null) out.push({ layer: name, l: l, i: i, x: at.group.values[i], mean: m[0], low: m[1] === null ? m[0] : m[1], high: m[2] === null ? m[0] : m[2], words: name + "\n" + at.group.words[i] + "\n" + interval(m) });
        });
      });
      return out;
    }
    // labels beside the last points, moved apart where they would lie over each other
    function named(rows, key, words, gap) {
      const last = Array.from(d3.rollup(rows, function (g) { return g[g.length - 1]; }, function (r) { return r[key]; }).values())
        .map(function (r) { return { x: r.x === undefined ? r.layer : r.x, at: r.mean, words: words(r) }; })
        .sort(function (a, b) { return a.at - b.at; });
      for (let turn = 0; turn < 9; turn++) {
        for (let i = 1; i < last.length; i++) {
          const short = gap - (last[i].at - last[i - 1].at);
          if (short > 1e-9) { last[i].at += short / 2; last[i - 1].at -= short / 2; }
        }
      }
      return Plot.text(last, { x: "x", y: "at", text: "words", textAnchor: "start", dx: 7, fill: "currentColor" });
    }
    function anchors(at) {
      return ["floor", "unrelated"].filter(function (m) { return method[m]; }).flatMap(function (m) {
        return rowsOf(method[m], at).filter(function (r) { return r.l === at.layer; }).map(function (r) { return Object.assign(r, { layer: method[m].label, colour: method[m].colour }); });
      });
    }
    // intervals of chance may reach far beyond all that is asked about: they are cut off
    function upTo(rows) { return [0, 1.08 * Math.max(0.93, d3.max(rows, function (r) { return r.mean; }) || 0)]; }
    function quieted(svg) {
      // one name for the whole figure; those of its parts are for elements that may have none
      svg.querySelectorAll("g[aria-label]").forEach(function (g) { g.removeAttribute("aria-label"); });
      svg.querySelectorAll("[aria-hidden]").forEach(function (g) { g.removeAttribute("aria-hidden"); });
      svg.setAttribute("role", "img");
    }
    function drawCurves(at) {
      curves.textContent = "";
      const width = Math.max(260, Math.min(620, curves.clientWidth || 560));
      const one = curved[curve.value];
      const rows = rowsOf(one, at);
      const seen = rows.filter(function (r) { return alone === null || r.l === alone; });
      const mine = seen.filter(function (r) { return r.l === at.layer; });
      const bands = anchors(at);
      const log = at.group.kind === "scaling";
      const byStrength = Plot.plot({
        width: width, height: 310, marginBottom: 44, marginLeft: 44, marginRight: 104, style: STYLE,
        ariaLabel: one.label + " by " + at.group.axis,
        x: { label: at.group.axis, type: log ? "log" : "linear", base: 2, ticks: at.group.values.length < 14 ? at.group.values : undefined, tickFormat: d3.format("~g"), nice: false },
        y: { label: "↑ fraction of variance unexplained", domain: upTo(bands.concat(rows)), clamp: true, grid: true },
        marks: [
          Plot.line(bands, { x: "x", y: "mean", z: "layer", stroke: "colour", strokeDasharray: "5 4" }),
          named(bands.concat(mine), "layer", function (r) { return ANCHORS[r.layer] || r.layer; }, 0.14),
          Plot.areaY(mine, { x: "x", y1: "low", y2: "high", fill: one.colour, fillOpacity: 0.2 }),
          Plot.line(seen, { x: "x", y: "mean", z: "layer", stroke: "currentColor", strokeOpacity: function (r) { return r.l === at.layer ? 0 : 0.4; } }),
          Plot.dot(seen, { x: "x", y: "mean", r: 2.5, fill: "currentColor", fillOpacity: 0.4 }),
          Plot.line(mine, { x: "x", y: "mean", stroke: one.colour, strokeWidth: 2.5 }),
          Plot.dot(mine, { x: "x", y: "mean", fill: one.colour, r: 3.5 }),
          Plot.ruleX([at.group.values[at.at]], { stroke: "currentColor", strokeWidth: 1.5, strokeDasharray: "2 2" }),
          tipped(seen.concat(bands), "x"),
        ],
      });
      quieted(byStrength);
      byStrength.addEventListener("click", function () {
        const hit = byStrength.value;
        if (hit && hit.l !== undefined) isolate(hit.l);
      });
      curves.appendChild(byStrength);
      const keys = make("p", curves, { class: "keys", role: "group", "aria-label": "Show one layer alone" });
      data.layers.forEach(function (name, l) {
        const key = make("button", keys, { type: "button", "aria-pressed": String(alone === l) }, name);
        key.addEventListener("click", function () { isolate(l); keep(l); });
      });
      const deep = data.methods.flatMap(function (m) {
        return data.layers.map(function (name, l) {
          const v = m.means[l][at.n];
          return v && v[0] !== null ? { m: m.name, label: m.label, layer: name, l: l, mean: v[0], low: v[1], high: v[2], colour: m.colour, words: m.label + "\n" + name + "\n" + interval(v) } : null;
        }).filter(Boolean);
      }).filter(function (r) { return [one.name, "floor", "unrelated", "any-warp"].includes(r.m); });
      const byDepth = Plot.plot({
        width: width, height: 270, marginLeft: 44, marginRight: 104, marginBottom: 62, style: STYLE,
        ariaLabel: "By depth, " + at.group.words[at.at],
        x: { type: "point", domain: data.layers, label: "layer, from shallow to deep", tickRotate: -30 },
        y: { label: "↑ " + at.group.words[at.at], domain: upTo(deep), clamp: true, grid: true },
        marks: [
          Plot.ruleX([data.layers[at.layer]], { stroke: "currentColor", strokeWidth: 1.5, strokeDasharray: "2 2" }),
          Plot.ruleX(deep.filter(function (r) { return r.low !== null; }), { x: "layer", y1: "low", y2: "high", stroke: function (r) { return r.m === "any-warp" ? "currentColor" : r.colour; }, strokeOpacity: 0.5, strokeWidth: 3 }),
          Plot.line(deep, { x: "layer", y: "mean", z: "m", stroke: function (r) { return r.m === "any-warp" ? "currentColor" : r.colour; }, strokeWidth: 2 }),
          Plot.dot(deep, { x: "layer", y: "mean", r: 3, fill: function (r) { return r.m === "any-warp" ? "currentColor" : r.colour; } }),
          named(deep, "m", function (r) { return ANCHORS[r.label] || r.label; }, 0.16),
          tipped(deep, "layer"),
        ],
      });
      quieted(byDepth);
      byDepth.addEventListener("click", function () {
        const hit = byDepth.value;
        if (hit && hit.l !== undefined) { layer.value = hit.l; fitChannels(); show(); }
      });
      curves.appendChild(byDepth);
    }
    function isolate(l) {
      alone = alone === l ? null : l;
      layer.value = l;
      fitChannels();
      show();
    }
    function keep(l) { curves.querySelectorAll(".keys button")[l].focus(); }

    function show() {
      const at = now();
      slideLabel.textContent = at.group.words[at.at];
      strength.setAttribute("aria-valuetext", at.group.words[at.at]);
      speak(at); tabulate(at); drawMaps(at); drawCurves(at);
    }
    family.addEventListener("change", function () { fitRange(); show(); });
    [layer, image].forEach(function (one) { one.addEventListener("change", function () { fitChannels(); show(); }); });
    [strength, channel, curve].forEach(function (one) { one.addEventListener("input", show); });
    let timer = 0;
    window.addEventListener("resize", function () {
      clearTimeout(timer);
      timer = setTimeout(function () { drawCurves(now()); }, 150);
    });
    fitRange(); fitChannels();
    place.closest(".explore").hidden = false;
    show();
  });
})();
