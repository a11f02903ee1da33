export { EnqueueError, enqueue } from './enqueue.js';
export type { EnqueueOptions, PgQueryable, PostgresJsQueryable, PrismaQueryable, Queryable } from './enqueue.js';
export { ENVELOPE_VERSION } from './events.js';
export type { EventMap, Envelope, EventOf, Headers, NewEvent, NewEventBase } from './events.js';
export { ChannelLostError, HandlerError, HistoryError, InvalidEventError, PayloadError, fetchPayload, subscribe } from './subscribe.js';
export type { FetchPayloadOptions, PayloadReference } from './subscribe.js';
export type { Delivery, Gap, GapReason, Handlers, SubscribeOptions, Subscription } from './subscribe.js';
