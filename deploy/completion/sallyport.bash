# bash completion for sallyport; made by "sallyport completion bash"
_sallyport_names() {
  local name
  while IFS= read -r name; do
    [[ $name != "$cur"* ]] || COMPREPLY+=("$(printf %q "$name")")
  done < <("${COMP_WORDS[0]}" "$1" list --limit 200 --search "$cur" --names 2>/dev/null)
}
_sallyport() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words= options= word
  COMPREPLY=()
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word != -* ]] || continue
    case "${words:+$words }$word" in
    "init"|"status"|"top"|"doctor"|"tenant"|"tenant add"|"tenant list"|"tenant show"|"tenant set"|"tenant disable"|"tenant enable"|"tenant remove"|"router"|"router add"|"router list"|"router show"|"router set"|"router disable"|"router enable"|"router rotate"|"router remove"|"router config"|"token"|"token add"|"token list"|"token revoke"|"gateway"|"gateway list"|"events"|"audit"|"import"|"store"|"store migrate"|"export"|"help"|"completion") words="${words:+$words }$word" ;;
    esac
  done
  case "$words $prev" in
    "init --endpoint") COMPREPLY=(); return ;;
    "init --listen-port") COMPREPLY=(); return ;;
    "init --interface") COMPREPLY=(); return ;;
    "init --pool") COMPREPLY=(); return ;;
    "init --api-listen") COMPREPLY=(); return ;;
    "init --from-interface") COMPREPLY=(); return ;;
    "init --from") compopt -o default; COMPREPLY=(); return ;;
    "init --address") COMPREPLY=(); return ;;
    "init --private-key-file") compopt -o default; COMPREPLY=(); return ;;
    "init --state-dir") compopt -o default; COMPREPLY=(); return ;;
    "init --config") compopt -o default; COMPREPLY=(); return ;;
    "doctor --sysctl-file") compopt -o default; COMPREPLY=(); return ;;
    "doctor --state-dir") compopt -o default; COMPREPLY=(); return ;;
    "tenant add --addressing") mapfile -t COMPREPLY < <(compgen -W "unique private" -- "$cur"); return ;;
    "tenant add --subnet") COMPREPLY=(); return ;;
    "tenant add --limit-bits") COMPREPLY=(); return ;;
    "tenant add --limit-packets") COMPREPLY=(); return ;;
    "tenant add --limit-routers") COMPREPLY=(); return ;;
    "tenant add --id") COMPREPLY=(); return ;;
    "tenant list --name") COMPREPLY=(); return ;;
    "tenant list --search") COMPREPLY=(); return ;;
    "tenant list --addressing") mapfile -t COMPREPLY < <(compgen -W "unique private" -- "$cur"); return ;;
    "tenant list --status") mapfile -t COMPREPLY < <(compgen -W "active disabled" -- "$cur"); return ;;
    "tenant list --limit") COMPREPLY=(); return ;;
    "tenant set --name") COMPREPLY=(); return ;;
    "tenant set --egress") mapfile -t COMPREPLY < <(compgen -W "on off" -- "$cur"); return ;;
    "tenant set --limit-bits") COMPREPLY=(); return ;;
    "tenant set --limit-packets") COMPREPLY=(); return ;;
    "tenant set --limit-routers") COMPREPLY=(); return ;;
    "router add --public-key") COMPREPLY=(); return ;;
    "router add --preshared-key") compopt -o default; COMPREPLY=(); return ;;
    "router add --output") compopt -o default; COMPREPLY=(); return ;;
    "router add --format") mapfile -t COMPREPLY < <(compgen -W "wg-quick routeros openwrt networkd qr" -- "$cur"); return ;;
    "router add --family") mapfile -t COMPREPLY < <(compgen -W "ipv4 ipv6 both" -- "$cur"); return ;;
    "router add --lan") COMPREPLY=(); return ;;
    "router add --address") COMPREPLY=(); return ;;
    "router add --id") COMPREPLY=(); return ;;
    "router list --name") COMPREPLY=(); return ;;
    "router list --search") COMPREPLY=(); return ;;
    "router list --status") mapfile -t COMPREPLY < <(compgen -W "pending active disabled" -- "$cur"); return ;;
    "router list --connected") mapfile -t COMPREPLY < <(compgen -W "yes no" -- "$cur"); return ;;
    "router list --address") COMPREPLY=(); return ;;
    "router list --public-key") COMPREPLY=(); return ;;
    "router list --limit") COMPREPLY=(); return ;;
    "router set --name") COMPREPLY=(); return ;;
    "router set --lan") COMPREPLY=(); return ;;
    "router rotate --public-key") COMPREPLY=(); return ;;
    "router rotate --preshared-key") compopt -o default; COMPREPLY=(); return ;;
    "router rotate --output") compopt -o default; COMPREPLY=(); return ;;
    "router rotate --format") mapfile -t COMPREPLY < <(compgen -W "wg-quick routeros openwrt networkd qr" -- "$cur"); return ;;
    "router rotate --family") mapfile -t COMPREPLY < <(compgen -W "ipv4 ipv6 both" -- "$cur"); return ;;
    "router config --format") mapfile -t COMPREPLY < <(compgen -W "wg-quick routeros openwrt networkd qr" -- "$cur"); return ;;
    "router config --family") mapfile -t COMPREPLY < <(compgen -W "ipv4 ipv6 both" -- "$cur"); return ;;
    "router config --output") compopt -o default; COMPREPLY=(); return ;;
    "token add --scope") mapfile -t COMPREPLY < <(compgen -W "admin tenant-read tenant-write metrics" -- "$cur"); return ;;
    "token add --tenant") _sallyport_names tenant; return ;;
    "token add --expires") COMPREPLY=(); return ;;
    "token add --output") compopt -o default; COMPREPLY=(); return ;;
    "events --after") COMPREPLY=(); return ;;
    "audit --since") COMPREPLY=(); return ;;
    "audit --until") COMPREPLY=(); return ;;
    "audit --tenant") _sallyport_names tenant; return ;;
    "audit --router") _sallyport_names router; return ;;
    "audit --actor") COMPREPLY=(); return ;;
    "audit --kind") COMPREPLY=(); return ;;
    "audit --limit") COMPREPLY=(); return ;;
    "audit --format") mapfile -t COMPREPLY < <(compgen -W "table json csv" -- "$cur"); return ;;
    "import --format") mapfile -t COMPREPLY < <(compgen -W "csv jsonl wg" -- "$cur"); return ;;
    "import --configs") compopt -o default; COMPREPLY=(); return ;;
    "import --interface") COMPREPLY=(); return ;;
    "import --tenant") _sallyport_names tenant; return ;;
    "import --addressing") mapfile -t COMPREPLY < <(compgen -W "unique private" -- "$cur"); return ;;
    "import --subnet") COMPREPLY=(); return ;;
    "store migrate --from") COMPREPLY=(); return ;;
    "store migrate --to") COMPREPLY=(); return ;;
    "export --tenant") _sallyport_names tenant; return ;;
    "export --private-key-file") compopt -o default; COMPREPLY=(); return ;;
    "export --output") compopt -o default; COMPREPLY=(); return ;;
    "* --socket") compopt -o default; COMPREPLY=(); return ;;
    "* --url") COMPREPLY=(); return ;;
    "* --token-file") compopt -o default; COMPREPLY=(); return ;;
  esac
  case "$words" in
    "init") options=" --endpoint --listen-port --interface --pool --api-listen --from-interface --from --address --private-key-file --key-only --state-dir --config"; [[ $cur == -* ]] || : ;;
    "status") options=""; [[ $cur == -* ]] || : ;;
    "top") options=" --routers --once"; [[ $cur == -* ]] || : ;;
    "doctor") options=" --fix --sysctl-file --state-dir"; [[ $cur == -* ]] || : ;;
    "tenant add") options=" --addressing --subnet --egress --limit-bits --limit-packets --limit-routers --id"; [[ $cur == -* ]] || : ;;
    "tenant list") options=" --name --search --addressing --status --limit --names"; [[ $cur == -* ]] || : ;;
    "tenant show") options=""; [[ $cur == -* ]] || _sallyport_names tenant ;;
    "tenant set") options=" --name --egress --limit-bits --limit-packets --limit-routers"; [[ $cur == -* ]] || _sallyport_names tenant ;;
    "tenant disable") options=""; [[ $cur == -* ]] || _sallyport_names tenant ;;
    "tenant enable") options=""; [[ $cur == -* ]] || _sallyport_names tenant ;;
    "tenant remove") options=" --yes"; [[ $cur == -* ]] || _sallyport_names tenant ;;
    "router add") options=" --public-key --preshared-key --output --format --family --lan --address --id"; [[ $cur == -* ]] || _sallyport_names tenant ;;
    "router list") options=" --name --search --status --connected --address --public-key --limit --names"; [[ $cur == -* ]] || _sallyport_names tenant ;;
    "router show") options=""; [[ $cur == -* ]] || _sallyport_names router ;;
    "router set") options=" --name --lan"; [[ $cur == -* ]] || _sallyport_names router ;;
    "router disable") options=""; [[ $cur == -* ]] || _sallyport_names router ;;
    "router enable") options=""; [[ $cur == -* ]] || _sallyport_names router ;;
    "router rotate") options=" --public-key --preshared-key --output --format --family --yes"; [[ $cur == -* ]] || _sallyport_names router ;;
    "router remove") options=" --yes"; [[ $cur == -* ]] || _sallyport_names router ;;
    "router config") options=" --format --family --output"; [[ $cur == -* ]] || _sallyport_names router ;;
    "token add") options=" --scope --tenant --expires --output"; [[ $cur == -* ]] || : ;;
    "token list") options=""; [[ $cur == -* ]] || : ;;
    "token revoke") options=""; [[ $cur == -* ]] || : ;;
    "gateway list") options=""; [[ $cur == -* ]] || : ;;
    "events") options=" --follow --after"; [[ $cur == -* ]] || : ;;
    "audit") options=" --since --until --tenant --router --actor --kind --limit --format"; [[ $cur == -* ]] || : ;;
    "import") options=" --format --into-existing --configs --check --interface --tenant --dry-run --skip-conflicts --drop-default-routes --adopt --other-key --addressing --subnet"; [[ $cur == -* ]] || compopt -o default ;;
    "store migrate") options=" --from --to"; [[ $cur == -* ]] || : ;;
    "export") options=" --tenant --private-key-file --output"; [[ $cur == -* ]] || : ;;
    "help") options=" --markdown"; [[ $cur == -* ]] || : ;;
    "completion") options=""; [[ $cur == -* ]] || : ;;
    *) local next
      next=$(printf '%s\n' "init" "status" "top" "doctor" "tenant add" "tenant list" "tenant show" "tenant set" "tenant disable" "tenant enable" "tenant remove" "router add" "router list" "router show" "router set" "router disable" "router enable" "router rotate" "router remove" "router config" "token add" "token list" "token revoke" "gateway list" "events" "audit" "import" "store migrate" "export" "help" "completion" |
        sed -n "s/^${words:+$words }\([^ ]*\).*/\1/p" | sort -u)
      mapfile -t COMPREPLY < <(compgen -W "$next" -- "$cur") ;;
  esac
  [[ $cur != -* ]] || mapfile -t COMPREPLY < <(compgen -W "$options --socket --url --token-file --json --help" -- "$cur")
}
complete -F _sallyport sallyport
