// The event map of the tests, in the shape that `types generate --lang typescript` writes.
export interface EventPayloads {
  'kitchen.task.claimed': { taskId: string; employeeId: string; claimedAt: string };
  'kitchen.task.progress': { taskId: string; employeeId: string; progressPercent: number; updatedAt: string };
}
