# Runs a directory of migrations as `rails db:migrate` does, then once more, which must find nothing to do.
#
#     ruby rails_migrate.rb URL DIRECTORY_OF_MIGRATIONS
require "active_record"

ActiveRecord::Base.establish_connection(ARGV.fetch(0))
ActiveRecord::Migration.verbose = false
context = ActiveRecord::MigrationContext.new(ARGV.fetch(1), ActiveRecord::SchemaMigration)
abort("no migrations") if context.migrations.empty?
context.migrate
abort("some are left") if context.needs_migration?
context.migrate
