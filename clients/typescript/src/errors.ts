/** The database refused the event, or has no outbox that this role may write to. */
export class EnqueueError extends Error {
  override readonly name = 'EnqueueError';
  constructor(
    message: string,
    /** PostgreSQL's SQLSTATE, such as `22023`. */
    readonly code: string,
    /** What to do about it. */
    readonly hint: string | undefined,
    /** More about it, where the database says more. */
    readonly detail: string | undefined,
    cause: unknown,
  ) {
    super(hint === undefined ? message : `${message}. ${hint}`, { cause });
  }
}

interface Found {
  code: string;
  message: string;
  hint: string | undefined;
  detail: string | undefined;
}

// What a deployment gets wrong; the database has no hint of its own for these.
const HINTS: Record<string, string> = {
  '3F000': 'The schema of the outbox does not exist: run `outbox-relay migrate up`, or pass { schema }.',
  '42883': 'The outbox has no function enqueue: run `outbox-relay migrate up`, or pass the right { schema }.',
  '42501': 'This role may not write events: grant usage on the schema and execute on its function enqueue.',
  '23505': 'An event with this id is already in the outbox.',
};

/**
 * What to throw for an error of a driver: an `EnqueueError` for what the database says about the event;
 * everything else (connections, serialization failures, timeouts) as it is, because applications look for
 * their driver's own errors to retry a transaction.
 */
export function explain(error: unknown): unknown {
  const found = find(error);
  if (found === undefined || !/^(22|23|3F|42|54)/.test(found.code)) return error;
  const hint = found.hint ?? HINTS[found.code];
  return new EnqueueError(found.message, found.code, hint, found.detail, error);
}

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

/**
 * PostgreSQL's error fields, however deep: pg throws them, Drizzle has them in `cause`, Prisma in
 * `meta.driverAdapterError.cause` (7), or in `meta.code` and `meta.message` (up to 6).
 */
function find(error: unknown, depth = 0): Found | undefined {
  if (typeof error !== 'object' || error === null || depth > 6) return undefined;
  const fields = error as Record<string, unknown>;
  const meta = fields['meta'] as Record<string, unknown> | undefined;
  const inner = find(fields['cause'], depth + 1) ?? find(meta?.['driverAdapterError'], depth + 1) ?? find(meta, depth + 1);
  if (inner !== undefined) return inner;
  const code = text(fields['originalCode']) ?? text(fields['code']);
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || code.startsWith('P')) return undefined;
  const message = text(fields['originalMessage']) ?? text(fields['message']) ?? 'the database refused the event';
  return { code, message, hint: text(fields['hint']), detail: text(fields['detail']) };
}
