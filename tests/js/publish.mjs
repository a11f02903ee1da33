// Publishes with the official Ably client over REST: each line of stdin is one publish, a message
// object or an array of them. Prints the outcome of each, one JSON object a line.
//
//   node publish.mjs URL KEY CHANNEL
//
// {"type":"published"} or {"type":"refused","code","statusCode","message"}; at the end of stdin the
// channel's history, oldest first: {"type":"history","ids":[…]}

import readline from 'node:readline';
import * as Ably from 'ably';

const [url, key, name] = process.argv.slice(2);
if (!url || !key || !name) {
  process.stderr.write('usage: node publish.mjs URL KEY CHANNEL\n');
  process.exit(2);
}

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const { hostname, port, protocol } = new URL(url);
const client = new Ably.Rest({
  key,
  endpoint: hostname,
  port: Number(port),
  tlsPort: Number(port),
  tls: protocol === 'https:',
  useBinaryProtocol: false,
  logLevel: 0,
});
const channel = client.channels.get(name);

for await (const line of readline.createInterface({ input: process.stdin })) {
  try {
    await channel.publish(JSON.parse(line));
    say({ type: 'published' });
  } catch ({ code, statusCode, message }) {
    say({ type: 'refused', code, statusCode, message });
  }
}

const ids = [];
// Pages of two, so that the links between pages are followed too.
let page = await channel.history({ direction: 'forwards', limit: 2 });
for (;;) {
  ids.push(...page.items.map((message) => message.id));
  if (!page.hasNext()) break;
  page = await page.next();
}
say({ type: 'history', ids });
