  -- Before this transaction ends, so that nobody who looks for {{pending_word}} rows ever sees them.
  if found then
    update {{relation}} t set {{status}} = {{waiting}}
      from new_rows r
     where t.{{id}} = r.{{id}} and r.{{status}} = {{pending}} and t.{{status}} = {{pending}};
  end if;
