/** What the colours of a layer mean, and where among them the value under the cursor lies. */

import { getJson } from "./api.ts";
import { create } from "./dom.ts";
import { legendPath, type Shown } from "./layers.ts";
import { numberText } from "./numbers.ts";

export interface Legend {
  readonly unit?: string | null;
  readonly range?: readonly [number, number];
  /** Of the colour map, from low to high, equally spaced. */
  readonly colors?: readonly string[];
  readonly classes?: readonly { readonly label: string; readonly color: string }[];
}

/** What `…/point/…` answers. */
export interface Reading {
  readonly value?: number | null;
  readonly label?: string | null;
  readonly unit?: string | null;
}

const known = new Map<string, Promise<Legend>>();

export function legendOf(shown: Shown): Promise<Legend> {
  const path = legendPath(shown);
  const found = known.get(path);
  if (found) return found;
  const legend = getJson<Legend>(path);
  known.set(path, legend);
  legend.catch(() => known.delete(path));
  return legend;
}

/** One legend of one map. */
export class LegendView {
  readonly element = create("div", { className: "legend" });
  #legend: Legend = {};
  #pointer: HTMLElement | null = null;

  show(title: string, legend: Legend): void {
    this.#legend = legend;
    this.#pointer = null;
    const unit = legend.unit ? ` (${legend.unit})` : "";
    this.element.replaceChildren(create("h2", {}, title + unit), ...this.#scale(legend));
  }

  clear(): void {
    this.show("", {});
    this.element.replaceChildren();
  }

  /** Shows where a reading lies among the colours; null: nowhere. */
  point(reading: Reading | null): void {
    for (const item of this.element.querySelectorAll<HTMLElement>("li")) {
      const here = reading !== null && item.dataset["label"] === reading.label;
      item.classList.toggle("here", here);
      if (here) bringIntoView(item);
    }
    if (!this.#pointer || !this.#legend.range) return;
    const [low, high] = this.#legend.range;
    const value = reading?.value;
    this.#pointer.hidden = typeof value !== "number";
    if (typeof value !== "number") return;
    const share = Math.min(1, Math.max(0, (value - low) / (high - low)));
    this.#pointer.style.left = `${share * 100}%`;
  }

  #scale({ classes, colors, range }: Legend): HTMLElement[] {
    if (classes) return [create("ul", { tabIndex: 0, ariaLabel: "Classes" }, ...classes.map(classItem))];
    if (!range || !colors) return [create("p", {}, "Places of like colour are alike.")];
    const bar = create("div", { className: "bar" });
    bar.style.background = `linear-gradient(to right, ${colors.join(", ")})`;
    this.#pointer = create("span", { className: "pointer", hidden: true });
    bar.append(this.#pointer);
    const [low, high] = range;
    const ends = [low, (low + high) / 2, high].map((value) => create("span", {}, numberText(value)));
    return [bar, create("div", { className: "ends" }, ...ends)];
  }
}

/** Within its list only: `scrollIntoView` would move the page too. */
function bringIntoView(item: HTMLElement): void {
  const list = item.parentElement;
  if (!list) return;
  const top = item.offsetTop - list.offsetTop;
  if (top < list.scrollTop || top + item.offsetHeight > list.scrollTop + list.clientHeight) {
    list.scrollTop = top - (list.clientHeight - item.offsetHeight) / 2;
  }
}

function classItem({ label, color }: { label: string; color: string }): HTMLElement {
  const swatch = create("span", { className: "swatch" });
  swatch.style.background = color;
  const item = create("li", {}, swatch, label);
  item.dataset["label"] = label;
  return item;
}
