/** What a click on the map, Enter, or a place entered does to the references. */

import { type Place, samePlace } from "./places.ts";
import type { State } from "./state.ts";

export type Action = "set" | "add" | "unlike" | "read";

export interface Keys {
  readonly shiftKey: boolean;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
}

export function actionOf({ shiftKey, ctrlKey, metaKey }: Keys, chosen: Action): Action {
  if (shiftKey) return "unlike";
  return ctrlKey || metaKey ? "add" : chosen;
}

/** The places after `action` at `place`; null where nothing changes. */
export function placesAfter(state: State, action: Action, place: Place): Partial<State> | null {
  const without = (places: readonly Place[]): Place[] => places.filter((other) => !samePlace(place, other));
  switch (action) {
    case "read":
      return null;
    case "set":
      return { references: [place], negatives: without(state.negatives) };
    case "add":
      return { references: [...without(state.references), place], negatives: without(state.negatives) };
    case "unlike":
      return { references: without(state.references), negatives: [...without(state.negatives), place] };
  }
}
