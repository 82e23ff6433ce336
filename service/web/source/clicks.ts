/** The choice of what a click on the map does, and the doing of it. */

import { type Action, placesAfter } from "./actions.ts";
import { byId } from "./dom.ts";
import { announce } from "./messages.ts";
import { type Place, placeText } from "./places.ts";
import type { Store } from "./store.ts";

const HINTS: Record<Action, string> = {
  set: "Sets the reference.",
  add: "Adds one more reference. Ctrl-click does too.",
  unlike: "Adds a place to be unlike. Shift-click does too.",
  read: "Only reads the value there.",
};

export function chosenAction(): Action {
  const chosen = document.querySelector<HTMLInputElement>("input[name=click]:checked");
  return (chosen?.value ?? "set") as Action;
}

export function act(store: Store, action: Action, place: Place): void {
  const change = placesAfter(store.state, action, place);
  if (!change) return;
  store.choose(change);
  announce(`${action === "unlike" ? "To be unlike" : "Reference"}: ${placeText(place)}.`);
}

export function setUpClicks(): void {
  const hint = byId("click-hint", HTMLElement);
  const explain = (): void => void (hint.textContent = HINTS[chosenAction()]);
  for (const input of document.querySelectorAll("input[name=click]")) input.addEventListener("change", explain);
  explain();
}
