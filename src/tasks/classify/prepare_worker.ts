/** A thread that prepares files for the network, one after the other. */
import { type Answer, prepareFile, type Request } from "./prepare.ts";

/** The thread itself: its types are a page's here. */
const thread = self as unknown as {
  onmessage: (event: MessageEvent<Request>) => void;
  postMessage(answer: Answer, transfer?: Transferable[]): void;
};

thread.onmessage = async ({ data: { id, path, size } }) => {
  try {
    const values = await prepareFile(path, size);
    thread.postMessage({ id, values }, [values.buffer]);
  } catch (error) {
    thread.postMessage({ id, reason: error instanceof Error ? error.message : String(error) });
  }
};
