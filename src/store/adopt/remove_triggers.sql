drop trigger if exists {{copy_name}} on {{on}};
