// Subscribes with a key that is refused, and prints what `subscribe` throws and leaves behind.
//
//   node wrong_key.js URL KEY
import * as Ably from 'ably';
import { subscribe } from 'outbox-relay';

const [url = '', key = ''] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const client = new Ably.Realtime({
  key,
  endpoint: hostname,
  port: Number(port),
  tlsPort: Number(port),
  tls: false,
  useBinaryProtocol: false,
  logLevel: 0,
});
const channel = client.channels.get('tenant:a');
await subscribe(channel, { on: {}, onResync() {} }).catch((error: Ably.ErrorInfo) => {
  process.stdout.write(`${JSON.stringify({ type: 'refused', code: error.code, listeners: channel.listeners()?.length ?? 0 })}\n`);
});
client.close();
