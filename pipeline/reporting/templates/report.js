"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const page = document.documentElement;
  page.classList.add("scripted");

  // Draw each chart into the element with its name.
  const options = {
    renderer: "svg",
    actions: false,
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  };
  const drawn = Object.entries(specs).map(async ([id, spec]) => {
    const { view } = await vegaEmbed(document.getElementById(id), spec, options);
    return { id, spec, view };
  });
  const curves = [];
  const ready = Promise.all(drawn).then((all) => {
    curves.push(...all.filter(({ spec }) => spec.usermeta));
    page.dataset.drawn = all.length;
  });

  // Choose what the curves show.
  const shown = document.getElementById("shown");
  const chosen = (name) =>
    [...shown.querySelectorAll(`input[name=${name}]:checked`)].map((input) => input.value);
  const show = () => {
    const values = {
      variants: chosen("variants").map(Number),
      seeds: chosen("seeds").map(Number),
      layers: chosen("layers"),
    };
    for (const { view } of curves) {
      for (const [name, value] of Object.entries(values)) view.signal(name, value);
      view.runAsync();
    }
    const { variants, seeds, layers } = values;
    const isDrawn = (layer) => variants.length > 0 && (layer !== "runs" || seeds.length > 0);
    document.getElementById("nothing").hidden = layers.some(isDrawn);
  };
  const check = (name, on) => {
    for (const input of shown.querySelectorAll(`input[name=${name}]`)) input.checked = on;
    show();
  };

  // Zoom and move the curves.
  const around = ([low, high], factor, shift) => {
    const half = ((high - low) * factor) / 2;
    const middle = (low + high) / 2 + shift * (high - low);
    return [middle - half, middle + half];
  };
  const look = ({ view }, epoch, value) => {
    view.signal("zoom_epoch", epoch);
    view.signal("zoom_value", value);
    view.runAsync();
  };
  const move = (curve, factor, right = 0, up = 0) => {
    const [x, y] = ["x", "y"].map((name) => curve.view.scale(name).domain());
    look(curve, around(x, factor, right), around(y, factor, up));
  };
  const views = {
    nearer: (curve) => move(curve, 0.6),
    farther: (curve) => move(curve, 1 / 0.6),
    everything: (curve) => look(curve, null, curve.spec.usermeta.everything),
    start: (curve) => look(curve, null, null),
  };
  const keys = {
    "+": views.nearer,
    "=": views.nearer,
    "-": views.farther,
    0: views.start,
    ArrowLeft: (curve) => move(curve, 1, -0.15),
    ArrowRight: (curve) => move(curve, 1, 0.15),
    ArrowUp: (curve) => move(curve, 1, 0, 0.15),
    ArrowDown: (curve) => move(curve, 1, 0, -0.15),
  };

  // A finger cannot hover. A tap is passed to Vega as a pointer that stays where it tapped.
  let tapped = null;
  const pointer = (type, { clientX, clientY } = {}) =>
    tapped?.dispatchEvent(new PointerEvent(type, { bubbles: true, clientX, clientY }));
  const leave = () => {
    pointer("pointerout");
    tapped = null;
  };
  for (const chart of document.querySelectorAll(".chart"))
    chart.addEventListener("click", (event) => {
      if (event.pointerType === "mouse") return;
      tapped = event.target;
      pointer("pointerover", event);
      pointer("pointermove", event);
    });
  addEventListener("pointerdown", leave, { capture: true });
  addEventListener("scroll", leave, { passive: true });

  // Choose which examples are visible.
  const asked = document.getElementById("asked");
  const examples = [...document.querySelectorAll(".misread > li")];
  const found = document.getElementById("found");
  const filter = () => {
    const { label, taken, by, best } = Object.fromEntries(new FormData(asked));
    const readings = (example) =>
      example.dataset.readings.split(" ").map((reading) => reading.split(":"));
    const isTaken = (example) =>
      readings(example).some(
        ([variant, reading]) =>
          (by === "" || variant === by) &&
          reading !== example.dataset.label &&
          (taken === "" || reading === taken),
      );
    for (const example of examples) {
      example.hidden = !(
        (label === "" || example.dataset.label === label) &&
        (best === "" || example.dataset.best === best) &&
        isTaken(example)
      );
    }
    const count = examples.filter((example) => !example.hidden).length;
    const word = asked.dataset.example;
    found.textContent =
      count === 0 ? `No ${word} matches.` : `${count} of ${examples.length} ${word}s.`;
  };

  ready.then(() => {
    shown.addEventListener("change", show);
    for (const button of shown.querySelectorAll("button[data-check]"))
      button.addEventListener("click", () => check("seeds", button.dataset.check === "all"));
    for (const button of shown.querySelectorAll("button[data-view]"))
      button.addEventListener("click", () => curves.forEach(views[button.dataset.view]));
    for (const curve of curves)
      document.getElementById(curve.id).addEventListener("keydown", (event) => {
        if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        keys[event.key](curve);
      });
    // A browser that returns to a page remembers which boxes were ticked.
    show();
  }).catch((error) => {
    // Show what a browser without scripts shows: until now that is only text.
    page.classList.remove("scripted");
    for (const still of document.querySelectorAll("noscript"))
      still.insertAdjacentHTML("afterend", still.textContent);
    console.error(error);
  });
  // There is no form if no run misread anything.
  if (asked) {
    asked.addEventListener("change", filter);
    asked.addEventListener("reset", () => setTimeout(filter));
    for (const cell of document.querySelectorAll(".confusion [data-predicted]"))
      cell.addEventListener("click", () => {
        const { label, predicted, variant } = cell.dataset;
        asked.elements.label.value = label;
        asked.elements.taken.value = predicted;
        asked.elements.by.value = variant;
        asked.elements.best.value = "";
        filter();
        asked.scrollIntoView({ block: "start" });
      });
    filter();
  }
  addEventListener("beforeprint", () => {
    for (const closed of document.querySelectorAll("details:not([open], .quiet)")) closed.open = true;
  });
})();
