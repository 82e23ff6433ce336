/** The reference places on a map: a disc for each place to be like, a ring with a bar for each not to be. */

import { type Map, Marker } from "maplibre-gl";
import { create } from "./dom.ts";
import { type Place, placeText, pointed } from "./places.ts";

export type Kind = "references" | "negatives";

export class Markers {
  readonly #map: Map;
  readonly #moved: (kind: Kind, index: number, place: Place) => void;
  #markers: Marker[] = [];

  constructor(map: Map, moved: (kind: Kind, index: number, place: Place) => void) {
    this.#map = map;
    this.#moved = moved;
  }

  show(references: readonly Place[], negatives: readonly Place[]): void {
    for (const marker of this.#markers) marker.remove();
    this.#markers = [
      ...references.map((place, index) => this.#marker("references", index, place)),
      ...negatives.map((place, index) => this.#marker("negatives", index, place)),
    ];
  }

  #marker(kind: Kind, index: number, place: Place): Marker {
    const element = create("div", { className: `marker ${kind}`, title: placeText(place) });
    const marker = new Marker({ element, draggable: true }).setLngLat(place).addTo(this.#map);
    for (const name of ["tabindex", "role", "aria-label"]) element.removeAttribute(name); // the list of places is for keys
    element.setAttribute("aria-hidden", "true");
    marker.on("dragend", () => this.#moved(kind, index, pointed(marker.getLngLat(), this.#map.getZoom())));
    return marker;
  }
}
