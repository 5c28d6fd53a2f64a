"use strict";
// Everything that comes from a run is put in as text, never as markup.
const $ = (id) => document.getElementById(id);
const PAGE = 50;

function make(name, className, ...inside) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...inside.filter((part) => part !== null && part !== undefined));
  return element;
}

// ---- light and dark

$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const now = root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
});

// ---- published numbers

for (const button of document.querySelectorAll("[data-baseline]")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    const scope = button.closest("section");
    for (const mark of scope.querySelectorAll(".mark")) {
      if (mark.dataset.model === button.dataset.baseline) mark.classList.toggle("hidden", !shown);
    }
    button.setAttribute("aria-pressed", String(shown));
  });
}

// ---- questions

if ($("data")) {
  const { rows, strips, scorers, others } = JSON.parse($("data").textContent);
  rows.forEach((row, place) => {
    row.place = place;
    const parts = [row.id, row.task, row.question, ...row.options, row.answer, row.reply, row.error, ...row.clips];
    row.found = parts.filter(Boolean).join("\n").toLowerCase();
  });
  const view = { state: "all", sort: "place", down: false, shown: PAGE };

  const letter = (place) => String.fromCharCode(65 + place);
  const clock = (seconds) => `${seconds.toFixed(1)} s`;
  const said = (row) => {
    if (row.reply === null) return row.error || "not asked";
    return row.reply === "" ? "(empty)" : row.reply;
  };
  const optionSaid = (row) => {
    const verdict = row.verdicts[scorers[0]];
    const place = verdict && verdict[1] && verdict[1].length === 1 ? verdict[1].toUpperCase().charCodeAt(0) - 65 : -1;
    return place < row.options.length ? place : -1;
  };
  const keyOf = (row) => {
    if (view.sort === "place") return row.place;
    if (view.sort === "task") return row.task.toLowerCase();
    if (view.sort === "said") return said(row).toLowerCase();
    const verdict = row.verdicts[view.sort.slice("verdict ".length)];
    return verdict ? Number(verdict[0]) : -1;
  };

  function chosen() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const task = $("task") ? $("task").value : "";
    const time = $("time") ? $("time").value : "";
    const kept = rows.filter(
      (row) =>
        (view.state === "all" || (view.state === "disagree" ? row.disagree : row.state === view.state)) &&
        (!task || row.task === task) &&
        (!time || row.time === time) &&
        words.every((word) => row.found.includes(word)),
    );
    const sign = view.down ? -1 : 1;
    return kept.sort((a, b) => {
      const x = keyOf(a);
      const y = keyOf(b);
      return x < y ? -sign : x > y ? sign : a.place - b.place;
    });
  }

  function show() {
    const kept = chosen();
    $("rows").replaceChildren(...kept.slice(0, view.shown).map(line));
    const first = Math.min(view.shown, kept.length);
    const cut = first < kept.length ? `, the first ${first} shown` : "";
    $("count").textContent = `${kept.length} of ${rows.length} questions${cut}`;
    $("more").hidden = first >= kept.length;
    for (const button of document.querySelectorAll("[data-sort]")) {
      const order = button.dataset.sort === view.sort ? (view.down ? "descending" : "ascending") : "none";
      button.closest("th").setAttribute("aria-sort", order);
    }
  }

  function picture(number) {
    const image = make("img", "thumb");
    image.src = `data:image/jpeg;base64,${strips[number].jpeg}`;
    image.alt = "";
    return image;
  }

  function verdictCell(row, name) {
    const verdict = row.verdicts[name];
    const cell = make("td", "verdict");
    if (!verdict) return cell;
    cell.append(make("span", verdict[0] ? "verdict-right" : "verdict-wrong", verdict[0] ? "✓ right" : "✗ wrong"));
    if (name === scorers[0]) cell.append(make("span", "under", verdict[2]));
    return cell;
  }

  function line(row) {
    const opener = make("button", "", row.question);
    opener.type = "button";
    opener.setAttribute("aria-expanded", "false");
    const thumb = row.strips.length ? picture(row.strips[0]) : null;
    const about = make("span", "under", row.id);
    const place = make("td", "place", make("div", "ask", thumb, make("div", "", opener, about)));
    const picked = optionSaid(row);
    const short = picked >= 0 ? `(${letter(picked)}) ${row.options[picked]}` : said(row);
    const answer = make("td", "said", make("div", "clamp", short));
    const tr = make("tr", "row", place, make("td", "task", row.task), answer);
    for (const name of scorers) tr.append(verdictCell(row, name));
    tr.dataset.id = row.id;
    tr.addEventListener("click", () => {
      if (String(getSelection())) return;
      const open = opener.getAttribute("aria-expanded") === "true";
      if (open) tr.nextSibling.remove();
      else tr.after(detail(row));
      opener.setAttribute("aria-expanded", String(!open));
    });
    return tr;
  }

  function film(number, name) {
    const { jpeg, times } = strips[number];
    const image = make("img");
    image.src = `data:image/jpeg;base64,${jpeg}`;
    image.alt = `${times.length} frames of ${name}`;
    return make("figure", "strip", image, make("figcaption", "", ...times.map((t) => make("span", "", clock(t)))));
  }

  function optionList(row) {
    const picked = optionSaid(row);
    const items = row.options.map((text, place) => {
      const key = text === row.answer;
      const item = make("li", `${key ? "key" : ""} ${place === picked ? "picked" : ""}`, `(${letter(place)}) ${text}`);
      const notes = [place === picked ? "answered" : "", key ? "right" : ""].filter(Boolean);
      if (notes.length) item.append(make("em", "", notes.join(", ")));
      return item;
    });
    return make("ul", "options", ...items);
  }

  function lines(cells) {
    return make("table", "small", make("tbody", "", ...cells.map((texts) => make("tr", "", ...texts.map((text) => make("td", "", text))))));
  }

  function detail(row) {
    const panel = make("div", "panel");
    for (const number of row.strips) panel.append(film(number, row.clips[0]));
    panel.append(make("h4", "", `${row.id} · ${row.task} · ${row.clips.join(" + ")}`));
    panel.append(make("div", "asked", row.question));
    const left = make("div");
    if (row.options.length) left.append(make("h4", "", "options"), optionList(row));
    else left.append(make("h4", "", "reference"), make("div", "", row.answer));
    left.append(make("h4", "", row.scored ? "reply, as the best-scored option" : "reply, as it was"));
    left.append(make("pre", "", said(row)));
    const right = make("div");
    const read = Object.entries(row.verdicts).map(([name, [correct, text, rule]]) => [
      name, correct ? "right" : "wrong", text === null ? "nothing read" : `read as ‘${text}’`, rule,
    ]);
    if (read.length) right.append(make("h4", "", "verdicts"), lines(read));
    if (row.judged && row.judged.length) right.append(make("h4", "", "judge"), lines(row.judged));
    if (row.others) {
      const shown = Object.entries(row.others).map(([name, [reply, correct]]) => [
        name, correct === null ? "–" : correct ? "right" : "wrong", reply === null ? "not asked" : reply,
      ]);
      right.append(make("h4", "", others), lines(shown));
    }
    panel.append(make("div", "grid2", left, right));
    const cell = make("td", "", panel);
    cell.colSpan = 3 + scorers.length;
    return make("tr", "detail", cell);
  }

  for (const button of document.querySelectorAll("[data-state]")) {
    button.addEventListener("click", () => {
      view.state = button.dataset.state;
      view.shown = PAGE;
      for (const other of document.querySelectorAll("[data-state]")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      show();
    });
  }
  for (const button of document.querySelectorAll("[data-sort]")) {
    button.addEventListener("click", () => {
      view.down = view.sort === button.dataset.sort && !view.down;
      view.sort = button.dataset.sort;
      show();
    });
  }
  for (const id of ["search", "task", "time"]) {
    if ($(id)) {
      $(id).addEventListener("input", () => {
        view.shown = PAGE;
        show();
      });
    }
  }
  $("more").addEventListener("click", () => {
    view.shown += PAGE;
    show();
  });
  show();
}
