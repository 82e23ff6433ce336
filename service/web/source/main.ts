/** The page: one state, one or two maps of it, and the controls that change it. */

import { setMaxParallelImageRequests, setWorkerUrl } from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import { actionOf } from "./actions.ts";
import { setUpAgreement } from "./agreement.ts";
import { getJson } from "./api.ts";
import { setUpAppearance } from "./appearance.ts";
import type { Basemap } from "./base_map.ts";
import { act, chosenAction, setUpClicks } from "./clicks.ts";
import { byId } from "./dom.ts";
import { setUpKeeping } from "./keeping.ts";
import { failed, setUpKey } from "./key.ts";
import { setUpLayerList, titleOf } from "./layer_list.ts";
import { shownBy } from "./layers.ts";
import { type Model, setUpModels } from "./models.ts";
import { Pane } from "./pane.ts";
import type { Place } from "./places.ts";
import { setUpPlaceList } from "./place_list.ts";
import { setUpSearch } from "./search.ts";
import { layerOf, sidesOf, type State } from "./state.ts";
import { Store } from "./store.ts";

const NEAR_ZOOM = 3;
/** Browsers open six connections to a host: two are left for values under the cursor. */
const TILES_AT_ONCE = 4;

setMaxParallelImageRequests(TILES_AT_ONCE);
setWorkerUrl(new URL(workerUrl, import.meta.url).href);
const store = new Store();
const maps = byId("maps", HTMLElement);
const panes: Pane[] = [];
let leading: Pane | null = null;

function basemap(): Basemap | null {
  const { basemap: url, basemapAttribution: attribution = "" } = document.documentElement.dataset;
  return url ? { url: url.startsWith("/") ? location.origin + url : url, attribution: escaped(attribution) } : null;
}

/** MapLibre takes attributions as HTML; ours is text. */
function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function addPane(): Pane {
  const pane: Pane = new Pane(maps, store.state.centre, store.state.zoom, basemap(), {
    clicked: (place, keys) => act(store, actionOf(keys, chosenAction()), place),
    dragged: (kind, index, place) =>
      store.choose({ [kind]: store.state[kind].map((other, at) => (at === index ? place : other)) }),
    hovered: (at) => panes.forEach((each) => each.read(at)),
    moved: (centre, zoom) => lead(pane, centre, zoom),
    explained: (legend) => pane === panes[0] && appearance.explain(legend),
    failed,
  });
  pane.mark(store.state.references, store.state.negatives);
  pane.fade(store.state.opacity);
  panes.push(pane);
  return pane;
}

/** The other map goes where the one that is moved goes. */
function lead(pane: Pane, centre: Place, zoom: number): void {
  if (leading) return;
  leading = pane;
  for (const other of panes) if (other !== pane) other.map.jumpTo({ center: pane.map.getCenter(), zoom });
  store.follow({ centre, zoom });
  leading = null;
}

function goTo(place: Place): void {
  const [first] = panes;
  first?.map.easeTo({ center: place, zoom: Math.max(first.map.getZoom(), NEAR_ZOOM) });
}

function show(state: State, before: State | null): void {
  const sides = sidesOf(known(state));
  while (panes.length > sides.length) panes.pop()?.remove();
  while (panes.length < sides.length) addPane();
  sides.forEach((side, index) => {
    const pane = panes[index];
    if (!pane) return;
    pane.name(side.model ?? usual, sides.length > 1);
    void pane.show(shownBy(side), titleOf(layerOf(side)));
    if (state.opacity !== before?.opacity) pane.fade(state.opacity);
    if (state.references !== before?.references || state.negatives !== before.negatives) {
      pane.mark(state.references, state.negatives);
    }
  });
  if (!leading && before && (state.centre !== before.centre || state.zoom !== before.zoom)) {
    panes[0]?.map.jumpTo({ center: state.centre, zoom: state.zoom });
  }
}

/** Without a second map of a model that is not served. */
function known(state: State): State {
  return models.some(({ id }) => id === state.compared) ? state : { ...state, compared: null };
}

async function modelsServed(): Promise<readonly Model[]> {
  try {
    const { data } = await getJson<{ data: Model[] }>("v1/models");
    byId("served", HTMLElement).textContent = data[0]?.id ?? "";
    return data;
  } catch (error) {
    failed(error);
    return [];
  }
}

setUpKey();
setUpClicks();
const appearance = setUpAppearance(store);
setUpSearch(store, goTo);
setUpPlaceList(store, goTo, failed);
byId("skip", HTMLAnchorElement).addEventListener("click", (event) => {
  event.preventDefault(); // the fragment holds the state
  panes[0]?.map.getCanvas().focus();
});
const models = await modelsServed();
const usual = models[0]?.id ?? "";
setUpModels(store, models);
setUpLayerList(store, usual || null, failed);
setUpKeeping(store, () => panes, failed);
store.onChange(show);
show(store.state, null);
setUpAgreement(store, () => panes[0]?.bounds ?? null, models, failed);
