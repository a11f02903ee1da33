  update {{relation}} t set {{status}} = {{waiting}} where t.{{id}} = new.{{id}} and t.{{status}} = {{pending}};
