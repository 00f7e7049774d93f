/**
 * A restricted unpickler: it makes tensors (as descriptions), containers, texts and numbers, and calls nothing.
 *
 * Written here, since an allow-list of names is not all that a file of a stranger's asks for: the number of
 * objects, of steps and of remembered values must be bounded too, persistent ids and arguments checked as they
 * come, opcodes that no tensor needs refused, and nothing may recurse. (`pickleparser` from npm gives the first
 * only.)
 *
 * Format: Python's `pickletools`, protocols 2 to 5.
 */
import { refuse, show } from "./pth_refusal.ts";
import {
  describe,
  Global,
  Inert,
  makeStorage,
  makeTensor,
  type PickleValue,
  resolve,
  TensorRef,
  Tuple,
} from "./pth_values.ts";

/** Largest pickle that is read, in bytes: a model of 1,000 tensors has one of 100 kB. */
const MAX_BYTES = 64 * 2 ** 20;
/** Most opcodes that are run. A tensor takes about 30. */
const MAX_STEPS = 2 ** 23;
/** Most containers, marks, tensors and names that are made. A tensor takes about 12. */
const MAX_OBJECTS = 2 ** 20;
/** Most arguments of a call: PyTorch's have up to 8. */
const MAX_ARGUMENTS = 16;
/** Longest integer, in bytes. */
const MAX_INTEGER_BYTES = 255;

/** The stack below a mark. */
type Frame = PickleValue[];

class Machine {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  readonly #memo = new Map<number, PickleValue>();
  readonly #marks: Frame[] = [];
  #stack: Frame = [];
  #at = 0;
  #objects = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  run(): PickleValue {
    if (this.#bytes[0] !== 0x80) refuse("the pickle must be of protocol 2 or later, got another beginning");
    for (let step = 0; step < MAX_STEPS; step++) {
      const opcode = this.#uint(1);
      if (opcode !== 0x2e) { // STOP
        this.#execute(opcode);
        continue;
      }
      if (this.#marks.length > 0 || this.#stack.length !== 1 || this.#at !== this.#bytes.length) {
        refuse("the pickle must end with one value, got more or fewer");
      }
      return this.#pop();
    }
    refuse(`the pickle must have at most ${MAX_STEPS} steps, got more`);
  }

  /** Where the next `count` bytes start; they are taken. */
  #take(count: number): number {
    const from = this.#at;
    if (!(count >= 0 && count <= this.#bytes.length - from)) {
      refuse(`the pickle must be whole, got one that ends at byte ${this.#bytes.length}`);
    }
    this.#at += count;
    return from;
  }

  /** An unsigned little-endian integer. */
  #uint(size: 1 | 2 | 4 | 8): number {
    const from = this.#take(size);
    if (size === 1) return this.#bytes[from];
    if (size === 2) return this.#view.getUint16(from, true);
    return size === 4 ? this.#view.getUint32(from, true) : Number(this.#view.getBigUint64(from, true));
  }

  #data(length: number): Uint8Array {
    const from = this.#take(length);
    return this.#bytes.slice(from, from + length);
  }

  #text(length: number): string {
    try {
      return this.#utf8.decode(this.#data(length));
    } catch (error) {
      if (error instanceof SyntaxError) throw error;
      refuse("texts must be UTF-8, got other bytes");
    }
  }

  /** A text up to the end of its line, for names. */
  #line(): string {
    const end = this.#bytes.subarray(this.#at, this.#at + 256).indexOf(0x0a);
    if (end < 0) refuse("names must be lines of at most 255 bytes, got a longer one");
    const text = this.#text(end);
    this.#at++;
    return text;
  }

  /** A signed little-endian integer of any length. */
  #integer(length: number): number | bigint {
    if (length > MAX_INTEGER_BYTES) {
      refuse(`integers must have at most ${MAX_INTEGER_BYTES} bytes, got ${length}`);
    }
    let value = 0n;
    for (const byte of this.#data(length).reverse()) value = value << 8n | BigInt(byte);
    value = BigInt.asIntN(8 * length, value);
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }

  #push(value: PickleValue): void {
    this.#stack.push(value);
  }

  /** Counts things that take memory. */
  #spend(objects: number): void {
    this.#objects += objects;
    if (this.#objects > MAX_OBJECTS) refuse(`the pickle must make at most ${MAX_OBJECTS} objects, got more`);
  }

  /** Pushes something that takes memory. */
  #make(value: PickleValue): void {
    this.#spend(1);
    this.#stack.push(value);
  }

  #pop(): PickleValue {
    if (this.#stack.length === 0) refuse("the pickle must take no more values than it made, got one more");
    return this.#stack.pop()!;
  }

  /** The values since the last mark. */
  #popMark(): Frame {
    const below = this.#marks.pop();
    if (below === undefined) refuse("the pickle must mark what it collects, got no mark");
    const values = this.#stack;
    this.#stack = below;
    return values;
  }

  #tuple(size: number): void {
    if (this.#stack.length < size) refuse("the pickle must take no more values than it made, got more");
    const items = this.#stack.splice(this.#stack.length - size, size);
    this.#make(new Tuple(items));
  }

  /** Adds to the list on top of the stack. */
  #append(items: readonly PickleValue[]): void {
    const list = this.#stack.at(-1);
    if (!Array.isArray(list)) refuse(`values must be added to a list, got ${describe(list)}`);
    for (const item of items) list.push(item);
  }

  /** Adds keys and values to the dictionary on top of the stack. */
  #setItems(items: readonly PickleValue[]): void {
    const dict = this.#stack.at(-1);
    if (!(dict instanceof Map) || items.length % 2 !== 0) {
      refuse(`keys and values must be added to a dictionary, got ${describe(dict)}`);
    }
    for (let i = 0; i < items.length; i += 2) dict.set(items[i], items[i + 1]);
  }

  #remember(index: number): void {
    if (this.#stack.length === 0) refuse("the pickle must remember values that it made, got none");
    this.#memo.set(index, this.#stack[this.#stack.length - 1]);
  }

  #recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) refuse(`the pickle must recall what it remembered, got number ${index}`);
    this.#push(value);
  }

  /** The result of a call, which is made here and never by the file. */
  #reduce(callee: PickleValue, args: PickleValue): PickleValue {
    if (!(callee instanceof Global) || !(args instanceof Tuple) || args.items.length > MAX_ARGUMENTS) {
      refuse(
        `calls must be of known names with up to ${MAX_ARGUMENTS} arguments, got ${describe(callee)} and ` +
          describe(args),
      );
    }
    const { name, meaning } = callee;
    switch (meaning.kind) {
      case "tensor":
        return makeTensor(args.items, false);
      case "typedTensor":
        return makeTensor(args.items, true);
      case "parameter":
        if (args.items[0] instanceof TensorRef) return args.items[0];
        return refuse(`a parameter must hold a tensor, got ${describe(args.items[0])}`);
      case "size":
        if (args.items[0] instanceof Tuple) return args.items[0];
        return refuse(`a size must be a tuple, got ${describe(args.items[0])}`);
      case "inert":
        return new Inert(name);
      case "dict": {
        const pairs = args.items.find((item) => Array.isArray(item));
        const dict = new Map<PickleValue, PickleValue>();
        // One list may be used again and again, so its length counts each time.
        this.#spend(Array.isArray(pairs) ? pairs.length : 0);
        for (const pair of Array.isArray(pairs) ? pairs : []) {
          const [key, value] = pair instanceof Tuple ? pair.items : Array.isArray(pair) ? pair : [];
          if (key === undefined || value === undefined) {
            refuse("a dictionary must be made of pairs, got others");
          }
          dict.set(key, value);
        }
        return dict;
      }
      default:
        return refuse(`a file must not call ${show(name)}`);
    }
  }

  /** The state that an object is given: none of what is made here keeps any. */
  #build(): void {
    this.#pop();
    const target = this.#stack.at(-1);
    if (!(target instanceof Map || target instanceof Inert || target instanceof TensorRef)) {
      refuse(`states must be given to objects, got ${describe(target)}`);
    }
  }

  #execute(opcode: number): void {
    switch (opcode) {
      case 0x80: { // PROTO
        const protocol = this.#uint(1);
        if (protocol < 2 || protocol > 5) refuse(`the pickle's protocol must be 2 to 5, got ${protocol}`);
        return;
      }
      case 0x95: // FRAME: how much follows, which is no news
        return void this.#uint(8);
      case 0x28: // MARK
        this.#spend(1);
        this.#marks.push(this.#stack);
        this.#stack = [];
        return;
      case 0x30: // POP
        if (this.#stack.length === 0) this.#popMark();
        else this.#pop();
        return;
      case 0x31: // POP_MARK
        return void this.#popMark();
      case 0x32: { // DUP
        const value = this.#pop();
        this.#push(value);
        return this.#push(value);
      }
      case 0x4e: // NONE
        return this.#push(null);
      case 0x88: // NEWTRUE
        return this.#push(true);
      case 0x89: // NEWFALSE
        return this.#push(false);
      case 0x4a: // BININT
        return this.#push(this.#view.getInt32(this.#take(4), true));
      case 0x4b: // BININT1
        return this.#push(this.#uint(1));
      case 0x4d: // BININT2
        return this.#push(this.#uint(2));
      case 0x8a: // LONG1
        return this.#push(this.#integer(this.#uint(1)));
      case 0x8b: // LONG4
        return this.#push(this.#integer(this.#uint(4)));
      case 0x47: // BINFLOAT
        return this.#push(this.#view.getFloat64(this.#take(8), false));
      case 0x58: // BINUNICODE
        return this.#push(this.#text(this.#uint(4)));
      case 0x8c: // SHORT_BINUNICODE
        return this.#push(this.#text(this.#uint(1)));
      case 0x8d: // BINUNICODE8
        return this.#push(this.#text(this.#uint(8)));
      case 0x55: // SHORT_BINSTRING
        return this.#push(this.#text(this.#uint(1)));
      case 0x54: // BINSTRING
        return this.#push(this.#text(this.#uint(4)));
      case 0x43: // SHORT_BINBYTES
        return this.#make(this.#data(this.#uint(1)));
      case 0x42: // BINBYTES
        return this.#make(this.#data(this.#uint(4)));
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        return this.#make(this.#data(this.#uint(8)));
      case 0x5d: // EMPTY_LIST
      case 0x8f: // EMPTY_SET, as the list of its members
        return this.#make([]);
      case 0x7d: // EMPTY_DICT
        return this.#make(new Map());
      case 0x29: // EMPTY_TUPLE
        return this.#tuple(0);
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        return this.#tuple(opcode - 0x84);
      case 0x74: // TUPLE
      case 0x91: // FROZENSET
        return this.#make(new Tuple(this.#popMark()));
      case 0x61: { // APPEND
        const item = this.#pop();
        return this.#append([item]);
      }
      case 0x65: // APPENDS
      case 0x90: // ADDITEMS
        return this.#append(this.#popMark());
      case 0x73: { // SETITEM
        const value = this.#pop();
        return this.#setItems([this.#pop(), value]);
      }
      case 0x75: // SETITEMS
        return this.#setItems(this.#popMark());
      case 0x71: // BINPUT
        return this.#remember(this.#uint(1));
      case 0x72: // LONG_BINPUT
        return this.#remember(this.#uint(4));
      case 0x94: // MEMOIZE
        return this.#remember(this.#memo.size);
      case 0x68: // BINGET
        return this.#recall(this.#uint(1));
      case 0x6a: // LONG_BINGET
        return this.#recall(this.#uint(4));
      case 0x63: { // GLOBAL
        const module = this.#line();
        return this.#make(resolve(module, this.#line()));
      }
      case 0x93: { // STACK_GLOBAL
        const attribute = this.#pop();
        const module = this.#pop();
        if (typeof module !== "string" || typeof attribute !== "string") {
          refuse(`names must be texts, got ${describe(module)} and ${describe(attribute)}`);
        }
        return this.#make(resolve(module, attribute));
      }
      case 0x52: // REDUCE
      case 0x81: { // NEWOBJ
        const args = this.#pop();
        return this.#make(this.#reduce(this.#pop(), args));
      }
      case 0x51: // BINPERSID
        return this.#make(makeStorage(this.#pop()));
      case 0x62: // BUILD
        return this.#build();
      default:
        refuse(
          `the pickle must use what tensors and containers need, got opcode 0x${
            opcode.toString(16)
          } at byte ` +
            `${this.#at - 1}`,
        );
    }
  }
}

/**
 * Reads a pickle of tensors and containers. Time and memory are bounded by its length; nothing of it is called.
 * @returns the value: dictionaries as Maps, lists and sets as arrays, tensors as descriptions
 * @throws {SyntaxError} "Cannot read pth: ..." for names outside the table, opcodes that nothing of this needs,
 * and pickles that are damaged, truncated or too large
 */
export function unpickle(bytes: Uint8Array): PickleValue {
  if (bytes.length > MAX_BYTES) {
    refuse(`the pickle must have at most ${MAX_BYTES} bytes, got ${bytes.length}`);
  }
  return new Machine(bytes).run();
}
