// What an application does with the generated types; compiled under `strict` and run on real messages, one a line of stdin.
import { createInterface } from "node:readline";
import { ENVELOPE_VERSION, isEventType, type EventOf, type RealtimeEvent } from "./events.js";
import { parseRealtimeEvent, type RealtimeEvent as Parsed } from "./zod.js";

function describe(event: RealtimeEvent): string {
  switch (event.eventType) {
    case "kitchen.task.claimed":
      // @ts-expect-error: of another event type
      event.payload.progressPercent;
      return `${event.payload.employeeId} claimed ${event.payload.taskId}`;
    case "kitchen.task.progress":
      return `${event.payload.taskId} is at ${event.payload.progressPercent.toFixed(0)}`;
    case "kitchen.task.released":
      return `${event.payload.taskId} was released`;
    case "orders.order.created": {
      // @ts-expect-error: may be missing
      event.payload["ship to"].city;
      const city: string | undefined = event.payload["ship to"]?.city;
      const channel: "web" | "app" | "in-store" = event.payload.channel;
      const first = event.payload.lines[0];
      const sku: string = first?.parts?.[0]?.sku ?? "none";
      return `${channel} ${event.payload.total.amount} ${city ?? "?"} ${sku}`;
    }
    case "orders.order.deleted":
      return `${event.payload.orderId} by ${event.payload.by ?? "nobody"}`;
    default: {
      const none: never = event;
      return none;
    }
  }
}

// The types inferred by zod are those of the other file.
const same = (event: Parsed): string => (event.eventType === "kitchen.task.claimed" ? event.payload.taskId : "");
// @ts-expect-error: `version` is missing, and the payload is another type's
const wrong: EventOf<"kitchen.task.claimed"> = { id: "1", payload: { orderId: "x" } };
void wrong;

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line) as { name: string; data: unknown };
  const result = parseRealtimeEvent(message.data);
  if (!result.success) {
    console.log(JSON.stringify({ paths: result.error.issues.map((issue) => issue.path.join("/")) }));
    continue;
  }
  if (result.data.version !== ENVELOPE_VERSION || !isEventType(message.name)) throw new Error("a wrong envelope");
  same(result.data);
  console.log(JSON.stringify({ says: describe(message.data as RealtimeEvent) }));
}
