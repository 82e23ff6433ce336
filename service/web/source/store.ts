/** The state, kept in the address: choices make a step that Back undoes, moving the map does not. */

import { fromFragment, type State, toFragment } from "./state.ts";

const QUIET_MS = 250;

type Listener = (state: State, before: State) => void;

export class Store {
  state: State = fromFragment(location.hash);
  readonly #listeners: Listener[] = [];
  #pending: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    addEventListener("popstate", () => this.#become(fromFragment(location.hash)));
  }

  /** A choice of the reader's: a step of the history. */
  choose(change: Partial<State>): void {
    this.#settle();
    this.#become({ ...this.state, ...change });
    if (toFragment(this.state) !== location.hash) history.pushState(null, "", toFragment(this.state));
  }

  /** A movement: the address follows a little later, for browsers refuse to change it a hundred times a second. */
  follow(change: Partial<State>): void {
    this.#become({ ...this.state, ...change });
    clearTimeout(this.#pending);
    this.#pending = setTimeout(() => this.#settle(), QUIET_MS);
  }

  onChange(listener: Listener): void {
    this.#listeners.push(listener);
  }

  #settle(): void {
    if (this.#pending === undefined) return;
    clearTimeout(this.#pending);
    this.#pending = undefined;
    history.replaceState(null, "", toFragment(this.state));
  }

  #become(state: State): void {
    const before = this.state;
    this.state = state;
    for (const listener of this.#listeners) listener(state, before);
  }
}
