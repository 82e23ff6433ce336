/** The list of references and of places to be unlike: to go to, and to remove. */

import { contextOf, contextText } from "./context.ts";
import { byId, create } from "./dom.ts";
import type { Kind } from "./markers.ts";
import { announce } from "./messages.ts";
import { type Place, placeText } from "./places.ts";
import type { State } from "./state.ts";
import type { Store } from "./store.ts";

export function setUpPlaceList(store: Store, goTo: (place: Place) => void, failed: (error: unknown) => void): void {
  const list = byId("places", HTMLUListElement);
  const hint = byId("places-hint", HTMLElement);

  function item(kind: Kind, index: number, place: Place): HTMLElement {
    const text = placeText(place);
    const unlike = kind === "negatives";
    const go = create("button", { type: "button", className: "place", textContent: text, title: "Go there" });
    if (unlike) go.setAttribute("aria-label", `Unlike ${text}`);
    go.addEventListener("click", () => goTo(place));
    const remove = create("button", { type: "button", className: "remove", textContent: "×" });
    remove.setAttribute("aria-label", `Remove ${text}`);
    remove.addEventListener("click", () => {
      store.choose({ [kind]: store.state[kind].filter((_, other) => other !== index) });
      announce(`Removed ${text}.`);
      (list.querySelector<HTMLElement>(".remove") ?? byId("place", HTMLInputElement)).focus();
    });
    return create("li", {}, create("span", { className: `dot ${kind}` }), go, remove, worth(place));
  }

  /** Empty until the service has answered. */
  function worth(place: Place): HTMLElement {
    const element = create("p", { className: "hint worth" });
    contextOf(place, store.state.model).then((context) => (element.textContent = contextText(context)), failed);
    return element;
  }

  function show({ references, negatives }: State): void {
    list.replaceChildren(
      ...references.map((place, index) => item("references", index, place)),
      ...negatives.map((place, index) => item("negatives", index, place)),
    );
    hint.hidden = references.length > 0;
  }

  store.onChange((state, before) => {
    const same = state.references === before.references && state.negatives === before.negatives;
    if (!same || state.model !== before.model) show(state);
  });
  show(store.state);
}
