-- Ends the hold of tenant $1, whatever its reason. Returns what it was.
delete from :"schema".hold where tenant_id = $1 returning reason
