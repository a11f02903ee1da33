-- Waits until nobody writes to the table or has rows of it locked, and keeps it so until the end of the
-- transaction: a publisher that locks the rows it is publishing has finished with them then.
set local lock_timeout = '5s';
lock table {{relation}} in exclusive mode;
