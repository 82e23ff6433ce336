/** The choice of a layer: similarity, each head of the model, the colours of its embeddings. */

import { getJson, type HeadCard } from "./api.ts";
import { byId, create } from "./dom.ts";
import { layerOf, type State } from "./state.ts";
import type { Store } from "./store.ts";

interface Choice {
  readonly layer: string;
  readonly title: string;
  readonly note: string;
}

const SIMILARITY: Choice = { layer: "similarity", title: "Similarity", note: "−1 to 1" };
const EMBEDDINGS: Choice = { layer: "embeddings", title: "Embedding colours", note: "3 components" };

/** `land-cover` → `Land cover`: what a layer is called here. */
export function titleOf(layer: string): string {
  const fixed = [SIMILARITY, EMBEDDINGS].find((choice) => choice.layer === layer);
  if (fixed) return fixed.title;
  const words = layer.slice(layer.indexOf("/") + 1).replace(/[-_.]+/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** `usual` is the service's default model. */
export function setUpLayerList(store: Store, usual: string | null, failed: (error: unknown) => void): void {
  const group = byId("layers", HTMLFieldSetElement);
  let model: string | null = null;

  function fill(heads: readonly HeadCard[]): void {
    const choices = [
      SIMILARITY,
      EMBEDDINGS,
      ...heads.map(({ id, unit, task }) => {
        const layer = `predictions/${id}`;
        return { layer, title: titleOf(layer), note: unit ?? (task === "classification" ? "classes" : "") };
      }),
    ];
    const labels = choices.map(({ layer, title, note }) => {
      const input = create("input", { type: "radio", name: "layer", value: layer });
      input.addEventListener("change", () => store.choose({ layer, colormap: null, range: null }));
      return create("label", {}, input, title, create("small", {}, note));
    });
    for (const label of group.querySelectorAll("label")) label.remove();
    group.append(...labels);
    check(store.state);
  }

  function check(state: State): void {
    for (const input of group.querySelectorAll("input")) {
      input.checked = input.value === layerOf(state);
      if (input.value === "similarity") input.disabled = !state.references.length && !input.checked;
    }
  }

  async function show(state: State): Promise<void> {
    check(state);
    const asked = state.model ?? usual;
    if (!asked || asked === model) return;
    model = asked;
    try {
      const { data } = await getJson<{ data: HeadCard[] }>(`v1/heads?model=${encodeURIComponent(asked)}`);
      if (model === asked) fill(data);
    } catch (error) {
      failed(error);
    }
  }

  fill([]);
  store.onChange((state) => void show(state));
  void show(store.state);
}
