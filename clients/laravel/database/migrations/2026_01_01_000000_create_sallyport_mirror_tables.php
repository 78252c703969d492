<?php

declare(strict_types=1);

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class extends Migration {
    // Copies of the gateway's tables, for SALLYPORT_DATABASE=mirror and for tests. Never run it where the gateway keeps
    // its own: it makes them itself.

    public function getConnection(): ?string
    {
        return config('sallyport.database.connection');
    }

    public function up(): void
    {
        Schema::connection($this->getConnection())->create('tenant_vpn_tunnels', static function (
            Blueprint $table,
        ): void {
            $table->id();
            $table->uuid('tenant_id')->unique();
            $table->string('name')->index();
            $table->string('addressing');
            $table->string('server_public_key');
            $table->string('server_ip');
            $table->string('subnet_cidr');
            $table->string('status')->default('active');
            $table->smallInteger('egress')->default(0);
            foreach (['limit_bits_per_second', 'limit_packets_per_second', 'limit_routers'] as $limit) {
                $table->bigInteger($limit)->default(0);
            }
            foreach (['routers', 'connected_peers', 'bytes_received', 'bytes_sent'] as $count) {
                $table->bigInteger($count)->default(0);
            }
            $table->string('created_at', 32);
            $table->string('updated_at', 32);
        });
        Schema::connection($this->getConnection())->create('vpn_configurations', static function (
            Blueprint $table,
        ): void {
            $table->id();
            $table->uuid('tenant_id')->index();
            $table->foreignId('tenant_vpn_tunnel_id')->constrained('tenant_vpn_tunnels')->cascadeOnDelete();
            $table->uuid('router_id')->unique();
            $table->string('name')->index();
            $table->string('status')->default('pending');
            $table->text('client_private_key')->nullable();
            $table->string('client_public_key');
            $table->string('client_ip');
            $table->string('hub_address');
            $table->string('address6');
            $table->string('server_ip');
            $table->string('server_public_key');
            $table->string('server_endpoint');
            $table->integer('server_port')->default(51820);
            $table->string('connected_since', 32)->nullable();
            $table->string('last_handshake_at', 32)->nullable()->index();
            $table->string('endpoint')->nullable();
            $table->bigInteger('bytes_received')->default(0);
            $table->bigInteger('bytes_sent')->default(0);
            $table->bigInteger('lans')->default(0);
            $table->string('created_at', 32);
            $table->string('updated_at', 32);
        });
    }

    public function down(): void
    {
        Schema::connection($this->getConnection())->dropIfExists('vpn_configurations');
        Schema::connection($this->getConnection())->dropIfExists('tenant_vpn_tunnels');
    }
};
