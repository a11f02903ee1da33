# Runs the code of docs/recipes/rails.md: claims, and claims in vain.
#
#     ruby rails_page.rb URL DIRECTORY_OF_MODELS
require "active_record"

ActiveRecord::Base.establish_connection(ARGV.fetch(0))

class ApplicationRecord < ActiveRecord::Base
  self.abstract_class = true
end

%w[outbox task].each { |name| require File.join(ARGV.fetch(1), name) }

def check(holds, what)
  abort("not so: #{what}") unless holds
end

check(Task.claim(tenant_id: "tenant-abc", task_id: "task-1", employee_id: "e-1").length == 36, "an event's id")
begin
  Task.claim(tenant_id: "tenant-abc", task_id: "no such task", employee_id: "e-1")
  abort("claimed what is not there")
rescue ActiveRecord::RecordNotFound
  nil
end
begin
  Task.claim(tenant_id: "a:b", task_id: "task-2", employee_id: "e-1")
  abort("claimed for no tenant")
rescue ActiveRecord::StatementInvalid => error
  check(error.message.include?("cannot be part of an Ably channel name"), error.message)
end
check(Task.find("task-2").employee_id.nil?, "half a transaction was committed")
check(ActiveRecord::Base.connection.select_value("select count(*) from outbox.event") == 1, "one event")
