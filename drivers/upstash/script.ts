// Made of script/*.lua by `deno task lua`: change those, and run it.

/** What a store runs in Redis, for any operation. */
export const SCRIPT: string =
  `local a,b,c,d=KEYS[1],KEYS[2],KEYS[3],KEYS[4]local e,f,g=ARGV[1],ARGV[4],redis.call;local h,i,j=
tonumber(ARGV[5]),tonumber(ARGV[6]),tonumber(ARGV[7])local k=table.remove(ARGV)~=''local l=table.
remove(ARGV)if e=='confirm'then g('HDEL',a,unpack(ARGV,9))return{1,0,0}end;local m=math.floor(ARGV[3
]~=''and ARGV[3]or ARGV[2])if ARGV[3]==''then local n,o=pcall(g,'TIME')if n then m=o[1]*1000+math.
floor(o[2]/1000)end end;local function p(q)return type(q)=='number'and string.format('%.0f',q)or q
or''end;local function r(s,q)local t=tonumber(q)if t and t%1==0 and math.abs(t)<=9007199254740991
then return t end;if q and q~=''then error('the field "'..s..'" of the circuit makes no sense',0)end
end;local function u(v,w)for x=1,#w,1000 do g('HDEL',v,unpack(w,x,math.min(x+999,#w)))end end;local
function y(v)local z,A={},g('HGETALL',v)for x=1,#A,2 do z[A[x]]=A[x+1]end;return z,#A>0 end;local B,
C,D,E=y(a),{},{},false;local function F(s,q)B[s]=p(q)C[s],E=B[s],true end;local function G(s)B[s],C[
s],E=nil,nil,true;D[#D+1]=s end;local function H(s)return r(s,B[s])end;local function I()return(B.
override or'')~=''end;local function J(s)return s:sub(1,6)=='lease:'end;if B.epoch==''then B.epoch=
nil end;local K=not B.epoch;if B.prefix and B.prefix~=ARGV[8]then return redis.error_reply(
'ERR the circuit belongs to a store with another prefix')end;for L,s in ipairs(K and{}or{
'generation','since','began'})do r(s,B[s]or'?')end;local M,N={'epoch','policyHash','outcomes',
'cursor','since','trial','halfOpen.successes','halfOpen.failures','totals.successes',
'totals.failures','totals.rejected','totals.slow','lastFailureAt','lastSuccessAt','ids',
'sinceClosed.successes','sinceClosed.failures','sinceClosed.slow','consecutiveSuccesses',
'consecutiveFailures','start','newest.successes','newest.failures','newest.slow','floor','after',
'from','older.successes','older.failures','older.slow'},16;local O,P,Q,R={},nil,false,false;local S=
g('HMGET',b,'id:'..f,unpack(M))local n=r('id',table.remove(S,1))if not K and S[1]==B.epoch then for
x,T in ipairs(M)do if x>4 then O[T]=r(T,S[x])else O[T]=S[x]or nil end end;if n and m-math.floor(n/2)
<60000 then P=n%2==1 end else S,R={},S[1]end;local U=O.policyHash;local function V(T)return O[T]or 0
end;local function W(T,t)if t~=0 then O[T]=V(T)+t end end;local function X(Y,Z,_,a0)W(Y..
'.successes',Z)W(Y..'.failures',_)W(Y..'.slow',a0)end;local function a1(Y)return V(Y..'.successes'),
V(Y..'.failures'),V(Y..'.slow')end;local function a2(...)for L,T in ipairs({...})do O[T]=nil end end
;local function a3()if O.since~=H('since')then a2('outcomes',unpack(M,N))O.since=H('since')end;if O.
trial~=H('generation')then a2('halfOpen.successes','halfOpen.failures')O.trial=H('generation')end
end;a3()local function a4(a5)P,Q,E=a5,true,true end;local a6={'consecutiveFailures',
'consecutiveSuccesses','sinceClosed.failures','sinceClosed.successes','sinceClosed.slow',
'totals.failures','totals.successes','totals.rejected','totals.slow','halfOpen.successes',
'halfOpen.failures'}local function a7(a8,a9,aa,ab,ac,ad,ae,af)if l==''then return end;local ag,ah={}
,{}for s,q in pairs(B)do local V,ai=s:match('^row:(%d+) %-?%d+ (.*)$')if V then local aj=tonumber(q:
match('^%S+ %S+ %S+ %S+ (%S+)'))or 0;local ak,al={aj,tonumber(V),ai,s},ah[ai]ag[#ag+1]=ak;if not al
or aj<al[1]or aj==al[1]and ak[2]<al[2]then ah[ai]=ak end end end;if#ag>=64 then for L,ak in ipairs(
ag)do local al=ah[ak[3]]ak[5]=('%020.0f%020.0f%s %020.0f'):format(al[1],al[2],ak[3],ak[2])end;table.
sort(ag,function(am,an)return am[5]<an[5]end)local ao,ap=ag[1][4],ag[2][4]local aq,ar=B[ap]:match(
'^(%d+)(.*)$')F(ap,p((aq or 0)+1+(B[ao]:match('^%d+')or 0))..(ar or''))G(ao)end;local ak={0,a8,B.
state,a9 or B.state,p(m),ac or'-',p(ad or'-')}for L,T in ipairs(a6)do ak[#ak+1]=p(V(T))end;ak[#ak+1]
=ab or l;ae=p(ae or H('generation')+1)aa=p(aa or m)F('row:'..ae..' '..aa..' '..(af or B.epoch),table
.concat(ak,' '))end;local function as(ae,aa,at)F('generation',ae)F('began',aa)if at then F('since',
ae)end;for s in pairs(B)do if J(s)then G(s)end end;a3()end;local function au(aa,at)as(H('generation'
)+1,aa,at)end;local function av(af,ae,aa)return af==B.epoch and tonumber(ae)==H('generation')and
tonumber(aa)==H('began')end;local aw=false;local ax=f..'.'..p(m)local function ay(ae)for s in pairs(
B)do if s:sub(1,4)~='row:'and s~='expires'then G(s)end end;O,aw={},true;F('epoch',ax)F('state',
'CLOSED')F('prefix',ARGV[8])as(ae,m,true)end;local function az(aA)if not ARGV[aA]then return end;for
s in pairs(B)do if s:sub(1,7)=='policy.'then G(s)end end;for x=aA,#ARGV,2 do F(ARGV[x],ARGV[x+1])end
end;local function aB(aa,ac,ad,aC,aD)F('override',ac)F('override.until',ad)F('override.reason',aC)F(
'override.actor',aD)aw=true;au(aa,true)end;local aE={}local function aF()local ad=H('override.until'
)if I()and ad and ad<=m then local aG='{"reason":"expired","actor":null,'..(l:match('"isolate":.*')
or'}')a7('released',nil,ad,aG,B.override)for s,q in pairs(B)do if s:sub(1,8)=='override'then aE[
'released'..s:sub(9)]=q end end;aB(ad)end end;local function aH()return B.epoch..':'..B.since end;
local aI={}local function aJ(v,ap,aK,t,a0,aL)local z,aM=y(v)if z.of~=aH()then if aK and aM then g(
'DEL',v)end;z={}aI[v]=aK end;local aN,aO,aA,aP={},{0,0},nil,{}local function aQ(s,aR)if aR==0 then
return end;z[s]=p((r(s,z[s])or 0)+aR)aN[#aN+1],aN[#aN+2]=s,z[s]end;local aS=aK and{[p(aK)]=t,['s'..p(
aK)]=a0}or{}for s,aR in pairs(aS)do if aL and z[s]then z[s],aP[#aP+1]=nil,s end;aQ(s,aR)end;for s,aT
in pairs(z)do local aU,aa=s:match('^(s?)(%-?%d+)$')aa=tonumber(aa)if aa and(aa>ap or aa==aK)then
local x=#aU+1;aO[x]=aO[x]+r(s,aT)aA=math.min(aA or aa,aa)elseif aa then aP[#aP+1]=s end end;if aK
and#aP>(aL and 0 or 20)then u(v,aP)end;if#aN>0 then g('HSET',v,'of',aH(),unpack(aN))end;return aO[1]
,aO[2],aA end;local function aV(ap,aK,Z,_,a0)local aW,aX,aY=a1('older')local aL=aK and aK<=ap;local
aZ,L,aA,a_=aL or O.after and O.after>ap,nil,nil,nil;if aZ or aW+Z>0 then aW,L,aA=aJ(d,ap,aK,Z,0,aL)
end;if aZ or aX+aY+_+a0>0 then aX,aY,a_=aJ(c,ap,aK,_,a0,aL)end;if aL then ap=aK-1;O.floor=ap end;O[
'older.successes'],O['older.failures'],O['older.slow']=aW,aX,aY;O.after,O.from=ap,aA and a_ and math
.min(aA,a_)or aA or a_ end;local function b0(Z,_,a0,b1)local b2,b3,aK=math.ceil(h/10),m,O.start;if
not aK or b1>0 or m>=aK+b2 then b3=math.max(m,aK or m)aK=math.floor((b3-b1)/b2)*b2;if aK<=b3-h then
return end end;if aK~=O.start then local b4=math.max(O.floor or b3-h,b3-h)O.floor=b4;if O.start and
aK<O.start then return aV(b4,aK,Z,_,a0)end;if O.start and O.start>b4 then aV(b4,O.start,a1('newest')
)else a2('after','from','older.successes','older.failures','older.slow')end;a2('newest.successes',
'newest.failures','newest.slow')O.start=aK end;X('newest',Z,_,a0)end;local function b5(T,b6)local b7
=O[T]if not(b7 and b7>b6 and b7<=m)then O[T]=b6 end end;local function aT(Z,_,a0,b1)X('sinceClosed',
Z,_,a0)if Z>0 then W('consecutiveSuccesses',Z)a2('consecutiveFailures')b5('lastSuccessAt',m-b1)end;
if _>0 then local b8=O.lastSuccessAt;if not b8 or math.max(m,b8)-b1>=b8 then W('consecutiveFailures'
,_)a2('consecutiveSuccesses')end;b5('lastFailureAt',m-b1)end;if B.state=='HALF_OPEN'then X(
'halfOpen',Z,_,0)end;b0(Z,_,a0,b1)if i>0 then local b6=('S'):rep(math.min(Z,i))..('F'):rep(_)O.
outcomes=((O.outcomes or'')..b6):sub(-i)end end;local b9=100;local function ba(s)local ad,b2=(B[s]or
''):match('^(%S+) (%S+)$')return r(s,ad or B[s]),r(s,b2)end;local function bb(bc,bd,be)local bf=0;
for s in pairs(B)do if J(s)then local ad,b2=ba(s)if ad<=m or b2>0 and ad-m>2*b2 then G(s)elseif b2>0
then bf=bf+1 end end end;local s='lease:'..bc;local ad,b2=ba(s)if ad then return b2>0 end;if bf>=bd
then return false end;F(s,p(m+be)..' '..p(be))return true end;local function bg(bc)local ad,b2=ba(
'lease:'..bc)if not ad or b2==0 then return end;F('lease:'..bc,p(ad)..' 0')local aT,al,bh=0,nil,nil;
for s in pairs(B)do if J(s)then ad,b2=ba(s)if b2==0 then aT=aT+1;if not al or ad<bh then al,bh=s,ad
end end end end;if aT>b9 then G(al)end end;local bi,bj=true,false;local function bk(bl,bm)bi=B.epoch
or bl;if not bi then return end;if not B.epoch then ay(1)end;if P==nil then aF()a4(bm())end;bi=P end
;if e=='record'then local af,ae=ARGV[9],tonumber(ARGV[10])local Z,_,a0=tonumber(ARGV[12]),tonumber(
ARGV[13]),tonumber(ARGV[15])bk(true,function()local bn=av(af,ae,ARGV[11])if af==''then bn=ae==0 and
H('generation')==1 end;X('totals',Z,_,a0)W('totals.rejected',tonumber(ARGV[14]))if ARGV[18]~=''then
O.policyHash=ARGV[18]end;if bn then az(19)end;if bn and Z+_>0 then aT(Z,_,a0,math.max(0,math.floor(
ARGV[16])))end;bg(ARGV[17])return bn end)elseif e=='acquire'and B.epoch then aF()bj=P or false;if I(
)then bi=B.override~='forced_open'elseif B.state~='CLOSED'then local bo,b2=(H('openUntil')or m)-m,H(
'cooldownMs')local bp=b2 and bo>b2+math.max(b2,60000)if not bj and B.state=='OPEN'and(bo<=0 or bp)
then a7('half_opened','HALF_OPEN')F('state','HALF_OPEN')F('reason','cooldown_passed')au(m)bj=true;a4(
true)end;bi=B.state=='HALF_OPEN'and bb(ARGV[9],tonumber(ARGV[10]),tonumber(ARGV[11]))end elseif e==
'transition'then local a9,bq=ARGV[9],ARGV[14]~=''bk(not bq,function()if bq and not av(ARGV[13],ARGV[
14],ARGV[15])then return false end;if ARGV[10]=='closed'and V('halfOpen.failures')>0 then return
false end;a7(ARGV[10],a9)if a9=='OPEN'then F('reopenCount',B.state=='HALF_OPEN'and(H('reopenCount')
or 0)+1 or 0)F('openedAt',m)F('openUntil',m+ARGV[11])F('cooldownMs',ARGV[11])F('lastFailure',ARGV[16
])else if B.state~='CLOSED'then F('closedAt',m)end;F('reopenCount',0)F('openUntil')F('cooldownMs')
end;az(17)F('state',a9)F('reason',ARGV[12])au(m,a9=='CLOSED')return true end)elseif e=='override'
then local ac,ad=ARGV[9],tonumber(ARGV[10])bk(ac~='',function()if ac==''and not I()then return false
end;ad=ad and math.floor(ad-ARGV[2]+m)a7(ac==''and'released'or ac,nil,nil,nil,ac==''and B.override
or ac,ad)aB(m,ac,ad,ARGV[11],ARGV[12])return true end)elseif e=='restore'then local b7=B.epoch;bk(
true,function()if b7 and ARGV[9]=='keep'then return false end;local ae=math.max(H('generation'),ARGV
[10])+1;a7('imported',ARGV[13]:sub(2),nil,nil,nil,nil,ae,ax)ay(ae)local function br(q)local aU=q:sub(
1,1)if aU=='='then return q:sub(2)end;return aU=='@'and p(q:sub(2)-ARGV[2]+m)or q end;local al,bs=12
+2*ARGV[11],{}for L,T in ipairs(M)do bs[T]=true end;for x=12,al-1,2 do local s,q=ARGV[x],br(ARGV[x+1
])if bs[s]then O[s]=s~='policyHash'and tonumber(q)or q else F(s,q)end end;for x=al,#ARGV,4 do if O.
start then aV(-1e15,O.start,a1('newest'))end;O.start,O['newest.successes']=tonumber(br(ARGV[x])),
tonumber(ARGV[x+1])O['newest.failures'],O['newest.slow']=tonumber(ARGV[x+2]),tonumber(ARGV[x+3])end;
U=O.policyHash;return true end)end;local aW,aX,a0=0,0,0;local ap=math.max(m,O.start or m)-h;ap=math.
max(ap,O.floor or ap)if O.start and O.start>ap then if(O.after or ap)>ap or(O.from or m)<=ap then aV(
ap,nil,0,0,0)end;aW,aX,a0=a1('newest')aW,aX,a0=aW+V('older.successes'),aX+V('older.failures'),a0+V(
'older.slow')end;if E then O.epoch=B.epoch;if not H('openedAt')and not I()then j=math.min(j,864e5)
end;local bt=math.max(m,H('openUntil')or 0,H('override.until')or 0)+j;local bu=bt>(H('expires')or 0)
if bu then F('expires',bt+math.floor(j/8))end;u(a,D)local aN,aP={},{}for s,q in pairs(C)do aN[#aN+1]
,aN[#aN+2]=s,q end;if#aN>0 then g('HSET',a,unpack(aN))end;aN={}if Q then O.ids=V('ids')+1;if O.ids%
16==0 then local bv=g('HSCAN',b,(O.cursor or''):match('^%d+$')or 0,'MATCH','id:*','COUNT',64)O.
cursor=bv[1]for x=1,#bv[2],2 do if m-math.floor((tonumber(bv[2][x+1])or 0)/2)>=60000 then aP[#aP+1]=
bv[2][x]end end end;aN={'id:'..f,p(m*2+(P and 1 or 0))}end;for x,T in ipairs(M)do local q=p(O[T])if
q~=(S[x]or'')then aN[#aN+1],aN[#aN+2]=T,q end end;aI[a],aI[b]=aw,not S[1]if R then g('DEL',b)end;u(b
,aP)if#aN>0 then g('HSET',b,unpack(aN))end;for L,v in ipairs(KEYS)do if v==a and I()and not H(
'override.until')then if aw then g('PERSIST',a)end elseif aI[v]or bu and not K then g('PEXPIRE',v,p(
H('expires')-m))end end end;local a5={bi and 1 or 0,bj and 1 or 0,m}local function bw(z,b7)for s,q
in pairs(z)do local bx=s:sub(1,4)=='row:'and not k;if not bx and not(J(s)and q:sub(-2)==' 0')then a5
[#a5+1],a5[#a5+2]=(b7 or'')..s,'='..p(q)end end end;if B.epoch then bw(B)bw(O)bw(aE)bw({policyHash=U
or'',successes=aW,failures=aX,slow=a0},'answer.')if e=='dump'then bw(y(c),'failures:')bw(y(d),
'successes:')end end;return a5`;

/** Its SHA-1, by which Redis knows it. */
export const SCRIPT_SHA1: string = "e0cd618c76bd9165cf5c44da433a7b7a1a2f364c";
