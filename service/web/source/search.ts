/** The field for a place: sets the reference there, as a click would, and goes to it. */

import { act, chosenAction } from "./clicks.ts";
import { byId } from "./dom.ts";
import { parsePlace, type Place } from "./places.ts";
import type { Store } from "./store.ts";

export function setUpSearch(store: Store, goTo: (place: Place) => void): void {
  const field = byId("place", HTMLInputElement);
  const problem = byId("place-problem", HTMLElement);
  byId("search", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    problem.textContent = "";
    field.removeAttribute("aria-invalid");
    try {
      const place = parsePlace(field.value);
      act(store, chosenAction(), place);
      goTo(place);
    } catch (error) {
      problem.textContent = (error as Error).message;
      field.setAttribute("aria-invalid", "true");
      field.focus();
    }
  });
}
