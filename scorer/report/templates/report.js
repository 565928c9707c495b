"use strict";
// Language, theme, and the list of answers. Text enters the page through textContent alone.
(() => {
  const PAGE = 20; // answers that are shown at a time
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const search = byId("search"), list = byId("list"), count = byId("count"), more = byId("more");
  const form = byId("filters");
  const selects = { model: byId("model"), dimension: byId("dimension"), level: byId("level"), sort: byId("sort") };
  const uncertain = byId("uncertain");
  let shown = PAGE;

  // A page opened from disk may be denied storage; then a choice lasts as long as the page.
  const remembered = (name) => {
    try { return localStorage.getItem(name); } catch { return null; }
  };
  const remember = (name, value) => {
    try { localStorage.setItem(name, value); } catch { /* nothing to do */ }
  };

  const language = () => (root.lang === "zh" ? 1 : 0);
  const say = (name, ...values) =>
    data.texts[name][language()].replace(/\{(\d)\}/g, (_, i) => String(values[Number(i)]));
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const number = (value) => value.toLocaleString("en-US");
  const percent = (p) => `${(100 * p).toFixed(1)}%`;

  // --- language and theme
  const setLanguage = (name) => {
    root.lang = name;
    const key = name === "zh" ? "zh" : "en";
    for (const element of document.querySelectorAll("[data-en]")) {
      for (const attribute of ["aria-label", "placeholder"]) {
        if (element.hasAttribute(attribute)) element.setAttribute(attribute, element.dataset[key]);
      }
    }
    for (const button of document.querySelectorAll("[data-language]")) {
      button.setAttribute("aria-pressed", String(button.dataset.language === name));
    }
    const heading = document.querySelector("[data-heading]");
    document.title = (heading.querySelector(`.${key}`) ?? heading).textContent;
    drawThemes();
    fillSelects();
    draw();
  };
  const setTheme = (name) => {
    if (name === "auto") delete root.dataset.theme;
    else root.dataset.theme = name;
    drawThemes();
  };
  const drawThemes = () => {
    const current = root.dataset.theme ?? "auto";
    byId("themes").replaceChildren(
      ...["auto", "light", "dark"].map((name) => {
        const button = make("button", "", say(name));
        button.type = "button";
        button.dataset.choice = name;
        button.setAttribute("aria-pressed", String(name === current));
        return button;
      }),
    );
  };

  // --- filters
  const setOptions = (select, options) => {
    if (!select) return;
    const before = select.value;
    select.replaceChildren(
      ...options.map(([value, text]) => {
        const option = make("option", "", text);
        option.value = value;
        return option;
      }),
    );
    select.value = options.some(([value]) => value === before) ? before : options[0][0];
  };
  const fillSelects = () => {
    const levels = [...new Set(data.dimensions.flatMap((d) => d.levels))].sort((a, b) => a - b);
    setOptions(selects.model, [["", say("allModels")], ...data.models.map((name, i) => [String(i), name])]);
    setOptions(selects.dimension, [
      ["", say("anyDimension")],
      ...data.dimensions.map((d, i) => [String(i), d.name[language()]]),
    ]);
    setOptions(selects.level, [["", say("anyLevel")], ...levels.map((level) => [String(level), say("level", level)])]);
    setOptions(selects.sort, ["harmfulFirst", "uncertainFirst", "harmlessFirst", "fileOrder"].map((name) => [name, say(name)]));
  };
  const probability = (row) => {
    const i = selects.dimension.value;
    return i === "" ? row.h : (row.d[Number(i)]?.[1] ?? 1);
  };
  const levelFits = (row) => {
    const i = selects.dimension.value, level = selects.level.value;
    if (i !== "" && !row.d[Number(i)]) return false;
    if (level === "") return true;
    const scores = i === "" ? row.d : [row.d[Number(i)]];
    return scores.some((score) => score && String(score[0]) === level);
  };
  const whole = (text) => (typeof text === "string" ? text : text[0] + text[2]);
  const words = () => search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of data.rows) row.find = [row.p, row.r, ...(row.s ?? [])].map(whole).join("\n").toLowerCase();
  const chosen = () => {
    const wanted = words();
    const model = selects.model?.value ?? "";
    const rows = data.rows.filter(
      (row) =>
        (model === "" || String(row.m) === model) &&
        (!uncertain.checked || row.u) &&
        levelFits(row) &&
        wanted.every((word) => row.find.includes(word)),
    );
    const orders = {
      harmfulFirst: (a, b) => probability(a) - probability(b),
      harmlessFirst: (a, b) => probability(b) - probability(a),
      uncertainFirst: (a, b) =>
        (b.u ?? 0) - (a.u ?? 0) || Math.abs(probability(a) - 0.5) - Math.abs(probability(b) - 0.5),
      fileOrder: () => 0,
    };
    return rows.sort(orders[selects.sort.value]);
  };

  // --- answers
  const appendMarked = (element, text, wanted) => {
    const lower = text.toLowerCase();
    // Some letters change length in lower case; then the places would be wrong.
    if (!wanted.length || lower.length !== text.length) {
      element.append(text);
      return;
    }
    let at = 0;
    while (at < text.length) {
      let next = -1, length = 0;
      for (const word of wanted) {
        const found = lower.indexOf(word, at);
        if (found >= 0 && (next < 0 || found < next || (found === next && word.length > length))) {
          next = found;
          length = word.length;
        }
      }
      if (next < 0) break;
      element.append(text.slice(at, next), make("mark", "", text.slice(next, next + length)));
      at = next + length;
    }
    element.append(text.slice(at));
  };
  const drawText = (name, text, wanted) => {
    const said = make("div", "said");
    said.append(make("b", "", say(name)));
    const box = make("div", "text");
    if (typeof text === "string") {
      if (text === "") box.append(make("span", "omitted", say("empty")));
      else appendMarked(box, text, wanted);
    } else {
      appendMarked(box, text[0], wanted);
      box.append(make("span", "omitted", say("omitted", number(text[1]))));
      appendMarked(box, text[2], wanted);
    }
    said.append(box);
    return said;
  };
  const fold = (box) => {
    if (box.querySelector("mark")) return; // what was searched for is not hidden
    box.classList.add("folded");
    if (box.scrollHeight <= box.clientHeight + 2) {
      box.classList.remove("folded");
      return;
    }
    const button = make("button", "", say("unfold"));
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => {
      const folded = box.classList.toggle("folded");
      button.textContent = say(folded ? "unfold" : "fold");
      button.setAttribute("aria-expanded", String(!folded));
    });
    box.after(button);
  };
  const drawChip = (row, i) => {
    const dimension = data.dimensions[i], [level, p] = row.d[i];
    const chip = make("li", level === dimension.levels[0] ? "lowest" : level === dimension.levels.at(-1) ? "" : "between");
    if (row.o === i) chip.classList.add("own");
    chip.append(make("span", "", dimension.name[language()]), make("span", "grade", String(level)));
    chip.title = say("probability", percent(p));
    if (row.l?.[i] === level) {
      chip.append(make("span", "", "✓"));
      chip.title += ` · ${say("agrees")}`;
    } else if (row.l?.[i] !== undefined) {
      chip.append(make("span", "differs", say("labelled", row.l[i])));
    }
    return chip;
  };
  const drawRow = (row, wanted) => {
    const item = make("li", row.f ? "" : "harmful");
    const facts = make("div", "facts");
    facts.append(make("span", "verdict", say(row.f ? "harmless" : "harmful")));
    const likely = make("span", "probability");
    const bar = make("span", "bar"), filled = make("i");
    filled.style.setProperty("width", percent(row.h));
    bar.append(filled);
    likely.append(bar, say("probability", percent(row.h)));
    facts.append(likely);
    if (row.u) facts.append(make("span", "badge doubt", say("uncertain")));
    if (row.t) facts.append(make("span", "badge", say("truncated")));
    const who = [...(data.models.length > 1 ? [data.models[row.m]] : []), ...(row.s ?? [])];
    if (who.length) facts.append(make("span", "who", who.join(" · ")));
    const chips = make("ul", "chips");
    row.d.forEach((score, i) => { if (score) chips.append(drawChip(row, i)); });
    item.append(facts, drawText("prompt", row.p, wanted), drawText("response", row.r, wanted), chips);
    return item;
  };
  const draw = () => {
    const rows = chosen(), wanted = words();
    count.textContent = rows.length ? say("count", number(rows.length), number(data.rows.length)) : say("none");
    list.replaceChildren(...rows.slice(0, shown).map((row) => drawRow(row, wanted)));
    list.querySelectorAll(".text").forEach(fold);
    more.hidden = rows.length <= shown;
  };
  const again = () => {
    shown = PAGE;
    draw();
  };

  search.addEventListener("input", again);
  form.addEventListener("change", (event) => { if (event.target !== search) again(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(again)); // the fields are reset after the event
  more.addEventListener("click", () => {
    shown += PAGE;
    draw();
  });
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      remember("report-language", button.dataset.language);
      setLanguage(button.dataset.language);
    });
  }
  byId("themes").addEventListener("click", (event) => {
    const name = event.target.dataset.choice;
    if (!name) return;
    remember("report-theme", name);
    setTheme(name);
  });

  form.hidden = false;
  document.querySelector(".switches").hidden = false;
  const theme = remembered("report-theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const asked = remembered("report-language");
  const preferred = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
  setLanguage(asked === "zh" || asked === "en" ? asked : preferred);
})();
