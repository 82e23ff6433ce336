/** Which model is shown, and which one beside it, with which layer; there is nothing to choose where one is served. */

import { byId, create } from "./dom.ts";
import { titleOf } from "./layer_list.ts";
import type { State } from "./state.ts";
import type { Store } from "./store.ts";

/** As `/v1/models` lists it; the first is the default. */
export interface Model {
  readonly id: string;
  readonly heads: readonly string[];
  readonly limits: string;
}

export function setUpModels(store: Store, models: readonly Model[]): void {
  const usual = models[0]?.id ?? "";
  const model = byId("model", HTMLSelectElement);
  const compared = byId("compared", HTMLSelectElement);
  const layer = byId("compared-layer", HTMLSelectElement);
  const limits = byId("limits", HTMLElement);
  byId("models", HTMLElement).hidden = models.length < 2;
  model.append(...models.map(({ id }) => option(id, id)));
  compared.append(option("", "None"), ...models.map(({ id }) => option(id, id)));

  model.addEventListener("change", () => store.choose({ model: model.value === usual ? null : model.value }));
  compared.addEventListener("change", () => store.choose({ compared: compared.value || null, comparedLayer: null }));
  layer.addEventListener("change", () => store.choose({ comparedLayer: layer.value || null }));

  function show(state: State): void {
    model.value = state.model ?? usual;
    compared.value = state.compared ?? "";
    showLayers(state);
    const shown = models.filter(({ id }) => id === model.value || id === compared.value);
    limits.replaceChildren(...shown.flatMap((each) => [create("dt", {}, each.id), create("dd", {}, each.limits)]));
  }

  function showLayers(state: State): void {
    const heads = models.find(({ id }) => id === state.compared)?.heads;
    byId("compared-layer-field", HTMLElement).hidden = !heads;
    const own = ["similarity", "embeddings", ...(heads ?? []).map((head) => `predictions/${head}`)];
    layer.replaceChildren(option("", "The same"), ...own.map((each) => option(each, titleOf(each))));
    layer.value = state.comparedLayer ?? "";
  }

  store.onChange(show);
  show(store.state);
}

function option(value: string, textContent: string): HTMLOptionElement {
  return create("option", { value, textContent });
}
