/** One map: the layer of one model, its legend, and the value under the cursor. */

import { AttributionControl, type ErrorEvent, type LngLat, Map, NavigationControl, ScaleControl } from "maplibre-gl";
import { address, keyHeaders, problemOf } from "./api.ts";
import { ABOVE, type Basemap, drawBase, styleOf } from "./base_map.ts";
import { create } from "./dom.ts";
import { type Bounds, type Shown, TILE_SIZE, tilesPath } from "./layers.ts";
import { type Legend, legendOf, LegendView } from "./legend.ts";
import { type Kind, Markers } from "./markers.ts";
import { type Place, pointed, rounded, wrapped } from "./places.ts";
import { Readout } from "./readout.ts";

const MAX_ZOOM = 14;
const MODIFIERS = new Set(["Shift", "Control", "Meta", "Alt"]);

export interface PaneEvents {
  clicked(place: Place, keys: { shiftKey: boolean; ctrlKey: boolean; metaKey: boolean }): void;
  /** The cursor is there, or, null, no longer on the map. */
  hovered(at: LngLat | null): void;
  moved(centre: Place, zoom: number): void;
  dragged(kind: Kind, index: number, place: Place): void;
  /** The legend of what is shown; null: of nothing. */
  explained(legend: Legend | null): void;
  failed(error: unknown): void;
}

export class Pane {
  readonly element = create("section", { className: "pane" });
  readonly map: Map;
  readonly #name = create("p", { className: "pane-model" });
  readonly #legend = new LegendView();
  readonly #readout: Readout;
  readonly #markers: Markers;
  readonly #events: PaneEvents;
  readonly #ready: Promise<unknown>;
  #shown: Shown | null = null;
  #opacity = 1;
  #layers = 0;
  /** The layer that is complete, and stays until the next one is. */
  #whole = "";

  constructor(container: HTMLElement, centre: Place, zoom: number, basemap: Basemap | null, events: PaneEvents) {
    this.#events = events;
    this.#readout = new Readout((reading) => this.#legend.point(reading), events.failed);
    const canvas = create("div", { className: "map" });
    const card = create("div", { className: "card" }, this.#legend.element, this.#readout.element);
    this.element.append(canvas, create("div", { className: "crosshair" }), this.#name, card);
    container.append(this.element);
    this.map = new Map({
      container: canvas,
      style: styleOf(basemap),
      center: centre,
      zoom,
      maxZoom: MAX_ZOOM,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      boxZoom: false, // shift-click is for negatives
      attributionControl: false,
      fadeDuration: 0,
      transformRequest: (url) => (url.startsWith(address("v1/")) ? { url, headers: keyHeaders() } : { url }),
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(new NavigationControl({ showCompass: false }), "top-right");
    this.map.addControl(new ScaleControl({ maxWidth: 90 }), "bottom-right");
    this.map.addControl(new AttributionControl({ compact: true }), "bottom-right");
    if (!basemap && !matchMedia("(min-width: 721px)").matches) this.map.once("load", () => this.#foldCredits());
    this.#markers = new Markers(this.map, (kind, index, place) => events.dragged(kind, index, place));
    this.#ready = new Promise((resolve) => this.map.once("load", resolve)).then(() => drawBase(this.map, events.failed));
    this.#listen();
  }

  get shown(): Shown | null {
    return this.#shown;
  }

  get bounds(): Bounds {
    const bounds = this.map.getBounds();
    return { west: bounds.getWest(), south: bounds.getSouth(), east: bounds.getEast(), north: bounds.getNorth() };
  }

  /** Names the model where two are compared. */
  name(model: string, visible: boolean): void {
    this.element.setAttribute("aria-label", `Map of ${model}`);
    this.map.getCanvas().setAttribute("aria-label", `Map of ${model}. Arrow keys move it, plus and minus zoom, Enter takes the middle.`);
    this.#name.textContent = model;
    this.#name.hidden = !visible;
  }

  mark(references: readonly Place[], negatives: readonly Place[]): void {
    this.#markers.show(references, negatives);
  }

  fade(opacity: number): void {
    this.#opacity = opacity;
    for (const id of this.#own()) this.map.setPaintProperty(id, "raster-opacity", opacity);
  }

  /** The new layer is drawn over the last one, which goes when its successor is complete. */
  async show(shown: Shown | null, title: string): Promise<void> {
    if (JSON.stringify(shown) === JSON.stringify(this.#shown)) return;
    this.#shown = shown;
    this.element.ariaBusy = "true";
    this.#readout.again(shown);
    await this.#ready;
    if (this.#shown !== shown) return;
    if (!shown) {
      this.#drop(this.#own());
      this.#legend.clear();
      this.#events.explained(null);
      this.element.ariaBusy = "false";
      return;
    }
    const legend = await this.#legendOf(shown);
    if (this.#shown !== shown) return;
    this.#events.explained(legend);
    if (legend) {
      this.#legend.show(title, legend);
      this.#draw(shown, Boolean(legend.classes));
      await this.map.once("idle");
    } else {
      this.#legend.clear();
      this.#drop(this.#own());
    }
    if (this.#shown === shown) this.element.ariaBusy = "false";
  }

  /** Shows the value there; null: none. */
  read(at: LngLat | null): void {
    const zoom = this.map.getZoom();
    if (at) this.#readout.at(pointed(at, zoom), zoom, this.#shown);
    else this.#readout.clear();
  }

  remove(): void {
    this.map.remove();
    this.element.remove();
  }

  /** null where the service has no such layer, and so no tiles either. */
  async #legendOf(shown: Shown): Promise<Legend | null> {
    try {
      return await legendOf(shown);
    } catch (error) {
      this.#events.failed(error);
      return null;
    }
  }

  /** `blocky`: values are classes, between which there is nothing. */
  #draw(shown: Shown, blocky: boolean): void {
    this.#drop(this.#own().filter((id) => id !== this.#whole)); // and what is still asked for is called off
    const id = `layer-${++this.#layers}`;
    this.map.addSource(id, { type: "raster", tiles: [address(tilesPath(shown))], tileSize: TILE_SIZE });
    this.map.addLayer(
      {
        id,
        source: id,
        type: "raster",
        paint: {
          "raster-opacity": this.#opacity,
          "raster-resampling": blocky ? "nearest" : "linear",
          "raster-fade-duration": 0,
        },
      },
      ABOVE,
    );
    this.map.once("idle", () => {
      if (!this.map.getLayer(id)) return;
      this.#whole = id;
      this.#drop(this.#own().filter((other) => other !== id));
    });
  }

  #drop(ids: readonly string[]): void {
    for (const id of ids) {
      if (this.map.getLayer(id)) this.map.removeLayer(id);
      if (this.map.getSource(id)) this.map.removeSource(id);
    }
  }

  #own(): string[] {
    return this.map.getLayersOrder().filter((id) => id.startsWith("layer-"));
  }

  #listen(): void {
    this.map.on("click", ({ lngLat, originalEvent }) => {
      this.#events.clicked(pointed(lngLat, this.map.getZoom()), originalEvent);
      this.read(lngLat);
    });
    this.map.on("mousemove", ({ lngLat }) => this.#events.hovered(lngLat));
    this.map.getContainer().addEventListener("mouseleave", () => this.#events.hovered(null));
    this.map.on("move", () => {
      const { lng, lat } = this.map.getCenter();
      this.#events.moved({ lon: rounded(wrapped(lng)), lat: rounded(lat) }, this.map.getZoom());
    });
    this.map.on("error", (event) => void this.#report(event));
    this.#listenToKeys(this.map.getCanvas());
  }

  /** Whoever moves the map by keys works on its middle, and sees where that is. */
  #listenToKeys(canvas: HTMLElement): void {
    const keyed = (is: boolean): void => void this.element.classList.toggle("keyed", is);
    canvas.addEventListener("focus", () => {
      if (!canvas.matches(":focus-visible")) return;
      keyed(true);
      this.read(this.map.getCenter());
    });
    canvas.addEventListener("blur", () => keyed(false));
    canvas.addEventListener("pointerdown", () => keyed(false));
    canvas.addEventListener("keydown", (event) => {
      if (MODIFIERS.has(event.key)) return;
      keyed(true);
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.#events.clicked(pointed(this.map.getCenter(), this.map.getZoom()), event);
      this.read(this.map.getCenter());
    });
    this.map.on("moveend", () => this.element.classList.contains("keyed") && this.read(this.map.getCenter()));
  }

  #foldCredits(): void {
    const credits = this.element.querySelector(".maplibregl-ctrl-attrib");
    credits?.classList.remove("maplibregl-compact-show");
    credits?.removeAttribute("open");
  }

  async #report({ error }: ErrorEvent): Promise<void> {
    const { status, body } = error as Error & { status?: number; body?: Blob };
    this.#events.failed(status !== undefined && body ? await problemOf(status, body) : error);
  }
}
