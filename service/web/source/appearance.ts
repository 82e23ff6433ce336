/** Opacity, colour map and scale. */

import { byId, create } from "./dom.ts";
import type { Legend } from "./legend.ts";
import type { State } from "./state.ts";
import type { Store } from "./store.ts";

/** Perceptually even ones first; then those that diverge from a middle; then those for heights. By rio-tiler's names. */
const COLOURMAPS: readonly [name: string, title: string][] = [
  ["viridis", "Viridis"],
  ["cividis", "Cividis"],
  ["magma", "Magma"],
  ["inferno", "Inferno"],
  ["plasma", "Plasma"],
  ["greys_r", "Greys"],
  ["rdbu_r", "Blue to red"],
  ["brbg", "Brown to teal"],
  ["terrain", "Terrain"],
];

export interface Appearance {
  /** What can be changed depends on what the layer is. */
  explain(legend: Legend | null): void;
}

export function setUpAppearance(store: Store): Appearance {
  const opacity = byId("opacity", HTMLInputElement);
  const colormap = byId("colormap", HTMLSelectElement);
  const scale = byId("scale", HTMLFieldSetElement);
  const [low, high] = [byId("low", HTMLInputElement), byId("high", HTMLInputElement)];
  let own: readonly [number, number] | undefined;

  const options = [["", "The layer’s own"] as const, ...COLOURMAPS];
  colormap.append(...options.map(([value, textContent]) => create("option", { value, textContent })));

  opacity.addEventListener("input", () => store.follow({ opacity: opacity.valueAsNumber }));
  colormap.addEventListener("change", () => store.choose({ colormap: colormap.value || null }));
  for (const end of [low, high]) end.addEventListener("change", takeRange);
  byId("scale-reset", HTMLButtonElement).addEventListener("click", () => store.choose({ range: null }));

  function takeRange(): void {
    const [from, to] = [low, high].map(({ value }) => (value.trim() ? Number(value.replace("−", "-")) : NaN));
    const good = from !== undefined && to !== undefined && from < to && Number.isFinite(to - from);
    const words = good ? "" : "Two numbers, the lower one first.";
    low.setCustomValidity(words);
    if (good) store.choose({ range: [from, to] });
    else low.reportValidity();
  }

  function show(state: State): void {
    opacity.value = String(state.opacity);
    colormap.value = state.colormap ?? "";
    if (state.colormap && colormap.value !== state.colormap) {
      colormap.append(create("option", { value: state.colormap, textContent: state.colormap, selected: true }));
    }
    const range = state.range ?? own;
    [low.value, high.value] = range ? [endText(range[0]), endText(range[1])] : ["", ""];
  }

  store.onChange(show);
  show(store.state);
  return {
    explain(legend) {
      if (!store.state.range) own = legend?.range;
      colormap.disabled = scale.disabled = !legend?.range;
      show(store.state);
    },
  };
}

function endText(value: number): string {
  return String(Number(value.toPrecision(4)));
}
