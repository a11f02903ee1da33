// Subscribes with the package and prints what it hands over, one JSON object a line.
//
//   node subscribe.js URL KEY CHANNEL [OPTIONS as JSON]
//
// The connection goes through a proxy in this process. Lines on stdin: `cut` lets no connection through,
// and says {"type":"cut"} when the channel is suspended, `heal` lets them through again; `drop` ends the connections
// that there are; `detach`, `attach`, `unsubscribe`; `slow` and `fast` let handlers wait and go on. The end of stdin ends it.
import net from 'node:net';
import readline from 'node:readline';
import * as Ably from 'ably';
import { subscribe, type SubscribeOptions } from 'outbox-relay';
import type { EventPayloads } from './events.js';

const [url = '', key = '', name = '', given = '{}'] = process.argv.slice(2);
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
const { hostname, port } = new URL(url);

let open = true;
const sockets = new Set<net.Socket>();
const proxy = net.createServer((inside) => {
  if (!open) return void inside.destroy();
  const outside = net.connect(Number(port), hostname);
  for (const [one, other] of [[inside, outside], [outside, inside]] as const) {
    sockets.add(one);
    one.pipe(other);
    one.on('error', () => one.destroy());
    one.on('close', () => {
      sockets.delete(one);
      other.destroy();
    });
  }
});
await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
const local = (proxy.address() as net.AddressInfo).port;
const drop = () => {
  for (const socket of sockets) socket.destroy();
};

const client = new Ably.Realtime({
  key,
  endpoint: '127.0.0.1',
  port: local,
  tlsPort: local,
  tls: false,
  useBinaryProtocol: false,
  disconnectedRetryTimeout: 100,
  suspendedRetryTimeout: 100,
  logLevel: 0,
});
await client.connection.whenState('connected');
const channel = client.channels.get(name);
channel.on((change) => say({ type: 'channel', state: change.current, resumed: change.resumed }));

let go: (() => void) | undefined;
let gate: Promise<void> = Promise.resolve();
const options: SubscribeOptions<EventPayloads> = {
  on: {
    'kitchen.task.claimed': async (event, { recovered, outOfOrder }) => {
      await gate;
      say({ type: 'event', id: event.id, n: (event.payload as unknown as { n: number }).n, recovered, outOfOrder });
    },
    'kitchen.task.progress': () => {
      throw new Error('no progress');
    },
  },
  onUnknown: (event) => say({ type: 'unknown', eventType: event.eventType }),
  onResync: (gap) => say({ ...gap, type: 'resync', error: gap.error === undefined ? undefined : String(gap.error) }),
  onError: (error) => say({ type: 'error', name: error.name, message: error.message }),
  onOutOfOrder: (event, newest) => say({ type: 'out of order', id: event.id, newest }),
  ...(JSON.parse(given) as object),
};
const subscription = await subscribe<EventPayloads>(channel, options);
await subscription.settled();
say({ type: 'subscribed' });

const commands: Record<string, () => unknown> = {
  cut: () => {
    open = false;
    // Two minutes made short: when Ably gives a connection up, and the client its channels.
    const { connectionManager } = client.connection as unknown as { connectionManager: { connectionStateTtl: number } };
    connectionManager.connectionStateTtl = 1;
    drop();
    channel.once('suspended', () => {
      connectionManager.connectionStateTtl = 120_000;
      // After two minutes Ably knows the position no more, and lets the channel begin anew; the emulator remembers.
      (channel as unknown as { properties: { channelSerial: null } }).properties.channelSerial = null;
      say({ type: 'cut' });
    });
  },
  heal: () => {
    open = true;
  },
  drop,
  detach: () => channel.detach().then(() => say({ type: 'detached' })),
  attach: () => channel.attach(),
  unsubscribe: () => {
    subscription.unsubscribe();
    say({ type: 'unsubscribed', listeners: channel.listeners()?.length ?? 0 });
  },
  slow: () => {
    gate = new Promise((resolve) => (go = resolve));
  },
  fast: () => go?.(),
};
for await (const line of readline.createInterface({ input: process.stdin })) commands[line]?.();
subscription.unsubscribe();
client.connection.once('closed', () => process.exit(0));
client.close();
