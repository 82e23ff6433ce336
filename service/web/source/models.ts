/** Which model is shown, and which one beside it; there is nothing to choose where one is loaded. */

import { byId, create } from "./dom.ts";
import type { State } from "./state.ts";
import type { Store } from "./store.ts";

export function setUpModels(store: Store, names: readonly string[]): void {
  const model = byId("model", HTMLSelectElement);
  const compared = byId("compared", HTMLSelectElement);
  byId("models", HTMLElement).hidden = names.length < 2;
  const options = (): HTMLElement[] => names.map((name) => create("option", { value: name, textContent: name }));
  model.append(...options());
  compared.append(create("option", { value: "", textContent: "None" }), ...options());

  model.addEventListener("change", () => store.choose({ model: model.value === names[0] ? null : model.value }));
  compared.addEventListener("change", () => store.choose({ compared: compared.value || null }));

  function show(state: State): void {
    model.value = state.model ?? names[0] ?? "";
    compared.value = state.compared ?? "";
  }
  store.onChange(show);
  show(store.state);
}
