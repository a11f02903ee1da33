// Subscribes with the official Ably client and prints what it sees, one JSON object a line.
//
//   node subscribe.mjs URL KEY CHANNEL [CHANNEL…]
//
// {"type":"attached","channels":[…]}                                   once, when all channels are attached
// {"type":"message","channel","id","name","data","timestamp","extras"} each message, in the order received
// {"type":"connection","state"} {"type":"channel","channel","state","resumed"}   what happens to them later
// {"type":"failed","code","message"}                                   and the process ends with status 1
//
// Lines on stdin: `detach CHANNEL` detaches; `publish CHANNEL JSON` publishes over the same connection and
// prints {"type":"acknowledged"} or {"type":"refused","code"}; `attach CHANNEL` attaches again. The end of stdin, or SIGTERM, closes and ends.

import readline from 'node:readline';
import * as Ably from 'ably';

const [url, key, ...names] = process.argv.slice(2);
if (!url || !key || names.length === 0) {
  process.stderr.write('usage: node subscribe.mjs URL KEY CHANNEL [CHANNEL…]\n');
  process.exit(2);
}

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const fail = (reason) => {
  say({ type: 'failed', code: reason?.code, message: reason?.message });
  process.exit(1);
};

const { hostname, port, protocol } = new URL(url);
const client = new Ably.Realtime({
  key,
  endpoint: hostname,
  port: Number(port),
  tlsPort: Number(port),
  tls: protocol === 'https:',
  useBinaryProtocol: process.env.BINARY === 'true',
  disconnectedRetryTimeout: 500,
  logLevel: 0,
});

client.connection.on((change) => {
  if (change.current === 'failed') fail(change.reason);
  say({ type: 'connection', state: change.current });
});

const channels = names.map((name) => client.channels.get(name));
for (const channel of channels) {
  channel.on((change) => {
    if (change.current === 'failed') fail(change.reason);
    say({ type: 'channel', channel: channel.name, state: change.current, resumed: change.resumed });
  });
}

const end = () => {
  client.connection.once('closed', () => process.exit(0));
  client.close();
};
process.on('SIGTERM', end);
readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [command, name, ...rest] = line.split(' ');
    const channel = client.channels.get(name);
    if (command === 'detach') channel.detach().catch(fail);
    if (command === 'attach') channel.attach().catch(fail);
    if (command === 'publish') {
      channel.publish(JSON.parse(rest.join(' '))).then(
        () => say({ type: 'acknowledged' }),
        ({ code }) => say({ type: 'refused', code }),
      );
    }
  })
  .on('close', end);

try {
  await Promise.all(
    channels.map((channel) =>
      channel.subscribe(({ id, name, data, timestamp, extras }) => {
        say({ type: 'message', channel: channel.name, id, name, data, timestamp, extras });
      }),
    ),
  );
  say({ type: 'attached', channels: names });
} catch (error) {
  fail(error);
}
