/**
 * Ctrl-C as a request: the first one asks the training loop to stop and save, the second one ends the process.
 * @module
 */

/** The part of the process that {@link onInterrupt} uses; for tests. */
export interface InterruptHost {
  /** Starts to call `listener` at every `signal`. */
  addSignalListener(signal: Deno.Signal, listener: () => void): void;
  /** Stops to. */
  removeSignalListener(signal: Deno.Signal, listener: () => void): void;
  /** Ends the process with that status. */
  exit(status: number): void;
}

/** Options of {@link onInterrupt}. */
export interface InterruptOptions {
  /** Called once, at the first signal: the place to tell the user that a second one ends at once. */
  onRequest?: (signal: Deno.Signal) => void;
  /** Milliseconds during which further signals count as the same key press. Default: 500. */
  samePress?: number;
  /** Default: the process itself. */
  host?: InterruptHost;
}

/** A request to stop, once there is one. */
export interface Interrupt {
  /** Whether a signal has come: ask between two steps. */
  readonly requested: boolean;
  /** Aborts at the first signal, with an `AbortError` as reason. */
  readonly signal: AbortSignal;
  /** Gives the signals back to the system: Ctrl-C then ends the process as usual. */
  dispose(): void;
}

/** Windows knows no SIGTERM; Ctrl-Break is its harder Ctrl-C. */
function signalsHere(): Deno.Signal[] {
  return Deno.build.os === "windows" ? ["SIGINT", "SIGBREAK"] : ["SIGINT", "SIGTERM"];
}

/**
 * Listens for SIGINT (Ctrl-C) and SIGTERM. The first one sets `requested` and aborts `signal`, so that the
 * caller can finish its step, save and exit with 130; the second one exits with 130 at once.
 *
 * Under `deno task` one Ctrl-C arrives twice, 0.1 ms apart: from the terminal, which signals the whole process
 * group, and from the task runner, which passes it on (seen with Deno 2.9.6). What follows within `samePress`
 * is therefore the same press. Needs no permission.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const interrupt = onInterrupt();
 * let steps = 0;
 * while (steps < 3 && !interrupt.requested) steps++;
 * interrupt.dispose();
 * assert.equal(steps, 3);
 * assert.equal(interrupt.signal.aborted, false);
 * ```
 */
export function onInterrupt(options: InterruptOptions = {}): Interrupt {
  const { samePress = 500, host = Deno } = options;
  const controller = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let armed = false;
  const later = (milliseconds: number, then: () => void): void => {
    timer = setTimeout(then, milliseconds);
    Deno.unrefTimer(timer); // must not keep a finished process alive
  };
  const listenerOf = (signal: Deno.Signal) => (): void => {
    if (controller.signal.aborted) {
      if (armed) host.exit(130);
      return;
    }
    // Two timers, one after the other: a step that holds the event loop past the first one lets the press's
    // second signal wait in the queue, and the loop reads the queue before it comes to the second timer.
    later(samePress, () => later(1, () => void (armed = true)));
    controller.abort(new DOMException(`Stopped by ${signal}`, "AbortError"));
    options.onRequest?.(signal);
  };
  const listeners = signalsHere().map((signal) => ({ signal, listener: listenerOf(signal) }));
  for (const { signal, listener } of listeners) host.addSignalListener(signal, listener);
  return {
    get requested(): boolean {
      return controller.signal.aborted;
    },
    signal: controller.signal,
    dispose(): void {
      clearTimeout(timer);
      for (const { signal, listener } of listeners.splice(0)) host.removeSignalListener(signal, listener);
    },
  };
}
