/** How alike the two models see what is in view: a sample of its places, compared by the service. */

import { postJson } from "./api.ts";
import { byId } from "./dom.ts";
import type { Bounds } from "./layers.ts";
import type { Model } from "./models.ts";
import { SAMPLE, sampleOf } from "./sample.ts";
import type { State } from "./state.ts";
import type { Store } from "./store.ts";

const STILL_MS = 500;

interface Comparison {
  readonly k: number;
  readonly pairs: readonly { readonly cka: number | null; readonly neighbour_agreement: number }[];
}

/** `bounds` are those of the maps; of the models served, the first is the default. */
export function setUpAgreement(
  store: Store,
  bounds: () => Bounds | null,
  served: readonly Model[],
  failed: (error: unknown) => void,
): void {
  const element = byId("agreement", HTMLElement);
  let asked = "";
  let timer: ReturnType<typeof setTimeout> | undefined;

  function show(state: State): void {
    const models = [state.model ?? served[0]?.id ?? "", state.compared];
    const differ = models[0] !== models[1] && models.every((name) => served.some(({ id }) => id === name));
    const key = differ ? JSON.stringify([models, state.centre, state.zoom]) : "";
    if (key === asked) return;
    asked = key;
    clearTimeout(timer);
    element.textContent = differ ? "…" : "";
    if (differ) timer = setTimeout(() => void ask(models, key).catch(failed), STILL_MS);
  }

  async function ask(models: readonly (string | null)[], key: string): Promise<void> {
    const seen = bounds();
    if (!seen) return;
    const input = sampleOf(seen).map(({ lon, lat }) => [lon, lat]);
    try {
      const answer = await postJson("v1/compare", { input, models, embeddings: false }, "application/json");
      const comparison = (await answer.json()) as Comparison;
      if (key === asked) element.textContent = agreementText(comparison);
    } catch (error) {
      if (key === asked) element.textContent = "";
      throw error;
    }
  }

  store.onChange(show);
  show(store.state);
}

export function agreementText({ k, pairs: [pair] }: Comparison): string {
  if (!pair) return "";
  const cka = pair.cka === null ? "none" : pair.cka.toFixed(2);
  const share = `${Math.round(100 * pair.neighbour_agreement)} %`;
  return `At ${SAMPLE} places in view: CKA ${cka}; of the ${k} places most alike, ${share} are the same.`;
}
