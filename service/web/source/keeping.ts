/** What is shown, as a file or as a link. */

import { postJson } from "./api.ts";
import { byId, create } from "./dom.ts";
import { mapRequest } from "./layers.ts";
import { announce } from "./messages.ts";
import type { Pane } from "./pane.ts";
import { layerOf, sidesOf, toFragment } from "./state.ts";
import type { Store } from "./store.ts";

const SAID_MS = 1600;

export function setUpKeeping(store: Store, panes: () => readonly Pane[], failed: (error: unknown) => void): void {
  const files = [
    { button: byId("download-tiff", HTMLButtonElement), mediaType: "image/tiff", suffix: "tif" },
    { button: byId("download-png", HTMLButtonElement), mediaType: "image/png", suffix: "png" },
  ];
  for (const { button, mediaType, suffix } of files) {
    button.addEventListener("click", () => void busy(button, () => download(mediaType, suffix)).catch(failed));
  }

  async function download(mediaType: string, suffix: string): Promise<void> {
    for (const [index, side] of sidesOf(store.state).entries()) {
      const pane = panes()[index];
      if (!pane?.shown) continue;
      const { path, body } = mapRequest(side, pane.bounds, pane.map.getCanvas().width, mediaType === "image/png");
      const answer = await postJson(path, body, mediaType);
      const name = ["satcle", layerOf(side).replace("predictions/", ""), ...(side.model ? [side.model] : [])].join("-");
      save(await answer.blob(), `${name}.${suffix}`);
    }
    announce("The file is ready.");
  }

  const copy = byId("copy-link", HTMLButtonElement);
  copy.addEventListener("click", () => {
    history.replaceState(null, "", toFragment(store.state));
    void copyText(location.href).then(
      () => say(copy, "Copied"),
      () => failed(new Error("The browser does not let the page copy. The address above is the link.")),
    );
  });

  const enable = (): void => {
    const nothing = layerOf(store.state) === "similarity" && !store.state.references.length;
    for (const { button } of files) button.disabled = nothing;
  };
  store.onChange(enable);
  enable();
}

async function busy(button: HTMLButtonElement, work: () => Promise<void>): Promise<void> {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

function save(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  create("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** The clipboard is only there on HTTPS and on this machine. */
async function copyText(text: string): Promise<void> {
  await navigator.clipboard.writeText(text);
}

function say(button: HTMLButtonElement, text: string): void {
  const before = button.textContent;
  button.textContent = text;
  announce("The link is copied.");
  setTimeout(() => (button.textContent = before), SAID_MS);
}
